//! `metadata.managedFields` as a table: one set of fields for each manager, operation, version and subresource.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{fields::Fields, set::FieldSet};
use crate::time;

/// More entries of updates than this are joined, the oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager of the joined ones.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OperationType {
    Apply,
    Update,
}

/// Identifies an entry. Who applies is the same in whatever version; who updates has an entry for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) operation: OperationType,
    pub(super) name: String,
    /// Empty for applies.
    version: String,
    pub(super) subresource: String,
}

impl Manager {
    fn new(operation: OperationType, name: &str, api_version: &str, subresource: &str) -> Self {
        let version = match operation {
            OperationType::Apply => "",
            OperationType::Update => api_version,
        };
        Self {
            operation,
            name: name.to_owned(),
            version: version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    pub(super) fn update(name: &str, api_version: &str, subresource: &str) -> Self {
        Self::new(OperationType::Update, name, api_version, subresource)
    }

    pub(super) fn apply(name: &str, subresource: &str) -> Self {
        Self::new(OperationType::Apply, name, "", subresource)
    }

    /// The same manager, writing in another version.
    pub(super) fn in_version(&self, api_version: &str) -> Self {
        Self::new(self.operation, &self.name, api_version, &self.subresource)
    }
}

/// What a manager owns.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) fields: Fields,
    /// The version whose fields they are.
    pub(super) api_version: String,
    /// As it stands in the object; empty if it has none.
    pub(super) time: String,
}

/// All entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers {
    entries: BTreeMap<Manager, Owned>,
}

impl Managers {
    /// Or what is wrong with the first entry that is malformed.
    pub(super) fn decode(list: &[Value]) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for (index, entry) in list.iter().enumerate() {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => OperationType::Apply,
                "Update" => OperationType::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let version = text("apiVersion");
            if version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => {
                    return Err(format!(
                        "missing fieldsType in managed fields entry {index}"
                    ));
                }
                other => {
                    let other = crate::quote(other);
                    return Err(format!(
                        "invalid fieldsType {other} in managed fields entry {index}"
                    ));
                }
            }
            let fields = Fields::of_value(entry.get("fieldsV1").unwrap_or(&Value::Null))
                .ok_or_else(|| {
                    format!("error decoding versioned set from {entry}: error decoding set")
                })?;
            let manager = Manager::new(operation, text("manager"), version, text("subresource"));
            let owned = Owned {
                fields,
                api_version: version.to_owned(),
                time: text("time").to_owned(),
            };
            entries.insert(manager, owned);
        }
        Ok(Self { entries })
    }

    /// For clients: applies first, then by time, then by name.
    pub(super) fn encode(self) -> Vec<Value> {
        self.encode_with(Fields::into_tree)
    }

    /// The same for the store.
    pub(super) fn encode_for_store(self) -> Vec<Value> {
        self.encode_with(Fields::into_text)
    }

    fn encode_with(self, fields: impl Fn(Fields) -> Value) -> Vec<Value> {
        let mut rows: Vec<(Manager, Owned)> = self.entries.into_iter().collect();
        rows.sort_by(|(a, owned_a), (b, owned_b)| {
            (
                a.operation,
                &owned_a.time,
                &a.name,
                &owned_a.api_version,
                &a.subresource,
            )
                .cmp(&(
                    b.operation,
                    &owned_b.time,
                    &b.name,
                    &owned_b.api_version,
                    &b.subresource,
                ))
        });
        rows.into_iter()
            .map(|(manager, owned)| entry(manager, owned, &fields))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Manager, &Owned)> {
        self.entries.iter()
    }

    pub(super) fn get(&self, manager: &Manager) -> Option<&Owned> {
        self.entries.get(manager)
    }

    pub(super) fn insert(&mut self, manager: Manager, owned: Owned) {
        self.entries.insert(manager, owned);
    }

    /// Drops the entries of versions that there are not.
    pub(super) fn retain_versions(&mut self, is_served: impl Fn(&str) -> bool) {
        self.entries
            .retain(|_, owned| is_served(&owned.api_version));
    }

    /// Takes from what one manager owns; an entry left empty goes.
    pub(super) fn take_from(&mut self, manager: &Manager, removed: &FieldSet) {
        if let Some(owned) = self.entries.get_mut(manager) {
            owned.fields.subtract(removed);
            if owned.fields.is_empty() {
                self.entries.remove(manager);
            }
        }
    }

    /// Changes what all others own.
    pub(super) fn retain_fields(&mut self, change: impl Fn(&mut Owned), but: &Manager) {
        self.entries.retain(|manager, owned| {
            if manager != but {
                change(owned);
            }
            manager == but || !owned.fields.is_empty()
        });
    }

    /// Adds to what a manager owns.
    pub(super) fn add(
        &mut self,
        manager: Manager,
        api_version: &str,
        fields: Fields,
        now: Timestamp,
    ) {
        let owned = self.entries.entry(manager).or_insert_with(|| Owned {
            fields: Fields::default(),
            api_version: api_version.to_owned(),
            time: String::new(),
        });
        owned.fields.absorb(fields);
        owned.time = time::format(now);
    }

    /// The manager owns this, and nothing else; nobody owns nothing.
    pub(super) fn restate(&mut self, manager: Manager, owned: Owned) {
        if owned.fields.is_empty() {
            self.entries.remove(&manager);
        } else {
            self.entries.insert(manager, owned);
        }
    }

    /// Joins the oldest entries of updates when there are too many: those of a version into one.
    pub(super) fn cap_updates(&mut self) {
        let mut updates: Vec<(String, Manager)> = self
            .entries
            .iter()
            .filter(|(manager, _)| manager.operation == OperationType::Update)
            .map(|(manager, owned)| (owned.time.clone(), manager.clone()))
            .collect();
        let mut count = updates.len();
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        updates.sort();
        // The oldest of a version waits for a second one to be joined with.
        let mut oldest: BTreeMap<String, Manager> = BTreeMap::new();
        for (time, manager) in updates {
            if count <= MAX_UPDATE_MANAGERS {
                return;
            }
            let Some(first) = oldest.get(&manager.version) else {
                oldest.insert(manager.version.clone(), manager);
                continue;
            };
            let ancient = Manager::update(ANCIENT, &manager.version, "");
            if !self.entries.contains_key(&ancient)
                && let Some(owned) = self.entries.remove(first)
            {
                self.entries.insert(ancient.clone(), owned);
            }
            let Some(owned) = self.entries.remove(&manager) else {
                continue;
            };
            if let Some(into) = self.entries.get_mut(&ancient) {
                into.fields.absorb(owned.fields);
                into.time = time;
            }
            count -= 1;
        }
    }
}

fn entry(manager: Manager, owned: Owned, fields: impl Fn(Fields) -> Value) -> Value {
    let operation = match manager.operation {
        OperationType::Apply => "Apply",
        OperationType::Update => "Update",
    };
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    if !manager.name.is_empty() {
        put("manager", Value::from(manager.name));
    }
    put("operation", Value::from(operation));
    put("apiVersion", Value::from(owned.api_version));
    if !owned.time.is_empty() {
        put("time", Value::from(owned.time));
    }
    put("fieldsType", Value::from("FieldsV1"));
    put("fieldsV1", fields(owned.fields));
    if !manager.subresource.is_empty() {
        put("subresource", Value::from(manager.subresource));
    }
    Value::Object(out)
}
