//! `metadata.managedFields` as a table: one set of fields for each manager, operation, version and subresource.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::set::FieldSet;
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

/// Identifies an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) operation: OperationType,
    pub(super) name: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    fn new(operation: OperationType, name: &str, api_version: &str, subresource: &str) -> Self {
        Self {
            operation,
            name: name.to_owned(),
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    pub(super) fn update(name: &str, api_version: &str, subresource: &str) -> Self {
        Self::new(OperationType::Update, name, api_version, subresource)
    }

    pub(super) fn apply(name: &str, api_version: &str, subresource: &str) -> Self {
        Self::new(OperationType::Apply, name, api_version, subresource)
    }
}

#[derive(Clone, Debug)]
struct Owned {
    fields: FieldSet,
    /// As it stands in the object; empty if it has none.
    time: String,
}

/// All entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers {
    entries: BTreeMap<Manager, Owned>,
}

impl Managers {
    /// `None` if an entry is malformed.
    pub(super) fn decode(list: &[Value]) -> Option<Self> {
        let mut entries = BTreeMap::new();
        for entry in list {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => OperationType::Apply,
                "Update" => OperationType::Update,
                _ => return None,
            };
            if !matches!(text("fieldsType"), "FieldsV1") || text("apiVersion").is_empty() {
                return None;
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => FieldSet::default(),
                Some(fields) => FieldSet::from_fields_v1(fields)?,
            };
            let manager = Manager::new(
                operation,
                text("manager"),
                text("apiVersion"),
                text("subresource"),
            );
            entries.insert(
                manager,
                Owned {
                    fields,
                    time: text("time").to_owned(),
                },
            );
        }
        Some(Self { entries })
    }

    /// Applies first, then by time, then by name.
    pub(super) fn encode(self) -> Vec<Value> {
        let mut rows: Vec<(Manager, Owned)> = self.entries.into_iter().collect();
        rows.sort_by(|(a, owned_a), (b, owned_b)| {
            (
                a.operation,
                &owned_a.time,
                &a.name,
                &a.api_version,
                &a.subresource,
            )
                .cmp(&(
                    b.operation,
                    &owned_b.time,
                    &b.name,
                    &b.api_version,
                    &b.subresource,
                ))
        });
        rows.into_iter()
            .map(|(manager, owned)| entry(manager, owned))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Manager, &FieldSet)> {
        self.entries
            .iter()
            .map(|(manager, owned)| (manager, &owned.fields))
    }

    pub(super) fn fields(&self, manager: &Manager) -> Option<&FieldSet> {
        self.entries.get(manager).map(|owned| &owned.fields)
    }

    pub(super) fn set_fields(&mut self, manager: Manager, fields: FieldSet, now: Timestamp) {
        self.entries.insert(
            manager,
            Owned {
                fields,
                time: time::format(now),
            },
        );
    }

    /// Changes what one manager owns; an entry left empty goes.
    pub(super) fn change_fields(&mut self, manager: &Manager, change: impl Fn(&mut FieldSet)) {
        if let Some(owned) = self.entries.get_mut(manager) {
            change(&mut owned.fields);
            if owned.fields.is_empty() {
                self.entries.remove(manager);
            }
        }
    }

    /// Changes what all others own.
    pub(super) fn retain_fields(
        &mut self,
        change: impl Fn(&Manager, &mut FieldSet),
        but: &Manager,
    ) {
        self.entries.retain(|manager, owned| {
            if manager != but {
                change(manager, &mut owned.fields);
            }
            manager == but || !owned.fields.is_empty()
        });
    }

    /// Adds to what a manager owns.
    pub(super) fn add(&mut self, manager: Manager, fields: FieldSet, now: Timestamp) {
        let owned = self.entries.entry(manager).or_insert_with(|| Owned {
            fields: FieldSet::default(),
            time: String::new(),
        });
        owned.fields.absorb(fields);
        owned.time = time::format(now);
    }

    /// After an apply: the manager owns this, and nothing else. `time` is that of its entry.
    pub(super) fn restate(&mut self, manager: Manager, fields: FieldSet, time: String) {
        if fields.is_empty() {
            self.entries.remove(&manager);
        } else {
            self.entries.insert(manager, Owned { fields, time });
        }
    }

    /// When a manager last changed something.
    pub(super) fn time(&self, manager: &Manager) -> Option<&str> {
        self.entries.get(manager).map(|owned| &*owned.time)
    }

    /// Joins the oldest entries of updates when there are too many.
    pub(super) fn cap_updates(&mut self) {
        let mut updates: Vec<(String, Manager)> = self
            .entries
            .iter()
            .filter(|(manager, _)| manager.operation == OperationType::Update)
            .map(|(manager, owned)| (owned.time.clone(), manager.clone()))
            .collect();
        if updates.len() <= MAX_UPDATE_MANAGERS {
            return;
        }
        updates.sort();
        let surplus = updates.len() - MAX_UPDATE_MANAGERS;
        // Joining one entry into another makes one less, and the joined one counts, too.
        for (time, manager) in updates.into_iter().take(surplus + 1) {
            let Some(owned) = self.entries.remove(&manager) else {
                continue;
            };
            let ancient = Manager::update(ANCIENT, &manager.api_version, "");
            let into = self.entries.entry(ancient).or_insert_with(|| Owned {
                fields: FieldSet::default(),
                time: String::new(),
            });
            into.fields.extend(&owned.fields);
            into.time = time;
        }
    }
}

fn entry(manager: Manager, owned: Owned) -> Value {
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
    put("apiVersion", Value::from(manager.api_version));
    if !owned.time.is_empty() {
        put("time", Value::from(owned.time));
    }
    put("fieldsType", Value::from("FieldsV1"));
    put("fieldsV1", owned.fields.into_fields_v1());
    if !manager.subresource.is_empty() {
        put("subresource", Value::from(manager.subresource));
    }
    Value::Object(out)
}
