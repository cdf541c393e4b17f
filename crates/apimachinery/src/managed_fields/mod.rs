//! Who owns which field: tracking for writes, and server-side apply with conflicts.
//!
//! `metadata.managedFields` has an entry for each manager, operation, version and subresource. A write gives its manager the fields that it
//! changed, and takes them from all others; an apply states what its manager wants to own, fails where another manager owns
//! a field with another value (unless forced), and removes what the manager owned before and no longer states. After upstream's
//! `apimachinery/pkg/util/managedfields` and structured-merge-diff.

mod check;
mod conflict;
mod created;
mod fields;
mod last_applied;
mod managers;
mod prune;
mod scale;
mod set;
mod stored;
mod typed;

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Object, decode, meta, schema::TypeRef, time};
use managers::{Manager, Managers, Owned};
use typed::{compare, field_set, merge};

pub use check::Nulls;
pub use conflict::Conflict;
pub use scale::{of_parent, of_scale};
pub use set::FieldSet;
pub use stored::{disown_text, read, spell_out, write};

/// A write, as far as ownership is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Name of the field manager.
    pub manager: &'a str,
    /// `status`, `scale`, or empty.
    pub subresource: &'a str,
    /// Version in which the object is written.
    pub api_version: &'a str,
    /// When.
    pub now: Timestamp,
    /// Fields that this endpoint resets anyway, so that nobody can own them through it (upstream's `GetResetFields`).
    pub ignored: &'a FieldSet,
    /// The kind's other versions: what a manager wrote in one of them is compared in that one.
    pub versions: &'a dyn Versions,
}

/// An object seen in another version of its kind.
#[derive(Clone, Debug)]
pub enum Converted {
    /// The version has the same fields.
    Same,
    /// There is no such version.
    Missing,
    /// The version has fields of its own.
    Object(TypeRef<'static>, Object),
}

/// The versions of a kind.
pub trait Versions: std::fmt::Debug + Sync {
    /// An object of one version, in another.
    fn convert(&self, object: &Object, from: &str, to: &str) -> Converted;
}

/// One version, or several that have the same fields.
#[derive(Clone, Copy, Debug)]
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _object: &Object, _from: &str, _to: &str) -> Converted {
        Converted::Same
    }
}

/// Why an apply failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own these fields.
    #[error("{}", conflict::message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration itself has `managedFields`.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The configuration does not fit the schema.
    #[error("{0}")]
    Typed(String),
}

impl From<ApplyError> for crate::Status {
    fn from(error: ApplyError) -> Self {
        match &error {
            ApplyError::Conflicts(conflicts) => {
                Self::apply_conflict(conflict::causes(conflicts), error.to_string())
            }
            ApplyError::ManagedFields => Self::bad_request(error.to_string()),
            ApplyError::Typed(_) => Self::unclassified(error),
        }
    }
}

/// What an apply makes of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object, with its `managedFields`; still to be decoded by its type.
    pub object: Object,
    /// Whether anything but ownership changed.
    pub changed: bool,
}

/// Fields that the server owns, or that name the object.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_paths(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// An object of this type in which nobody has set anything: what a create compares with.
pub fn blank(ty: TypeRef<'_>) -> Object {
    decode::json(b"{}", ty)
        .map(|decoded| decoded.object)
        .unwrap_or_default()
}

/// Tracks a create (`live` is `None`), update or patch: puts `metadata.managedFields` into `new`, which is complete otherwise, in the form in which
/// they are stored ([`spell_out`]).
///
/// `managedFields` that the client sent count if they are valid, those of the live object if not; a subresource cannot change them
/// directly; `[]` and `[{}]` clear them. An object whose lists have items without their keys is tracked no longer.
pub fn update(ty: TypeRef<'_>, live: Option<&Object>, new: &mut Object, write: &Write<'_>) {
    let mut managers = sent_or_live(live, new, write);
    if managers.is_empty() && live.is_some() {
        // An object that nobody tracked so far stays so until the first apply.
        meta::set_managed_fields(new, Vec::new());
        return;
    }
    let is_new = live.is_none();
    let blank_object;
    let live = match live {
        Some(live) => live,
        None => {
            blank_object = blank(ty);
            &blank_object
        }
    };
    let changed = changed_members(live, new);
    if !changed.iter().all(|name| can_be_owned(ty, name, new)) {
        meta::set_managed_fields(new, Vec::new());
        return;
    }
    if is_new && managers.is_empty() && live.values().all(created::is_bare) {
        let left = created::Left {
            ignored: Some(write.ignored.view()),
            stripped: Some(STRIPPED.view()),
        };
        let fields = created::fields(ty, live, new, &changed, left);
        if !fields.is_empty() {
            let this = Manager::update(write.manager, write.api_version, write.subresource);
            managers.add(this, write.api_version, fields, write.now);
        }
    } else {
        let changes = Changes::between(ty, live, new, &changed, &mut managers, write);
        track(changes, &mut managers, write);
        managers.cap_updates();
    }
    meta::set_managed_fields(new, managers.encode_for_store());
}

/// Whether `managedFields` can be read.
///
/// # Errors
/// What is wrong with the first entry that cannot, in upstream's words.
pub fn check(entries: &[Value]) -> Result<(), String> {
    Managers::decode(entries).map(drop)
}

/// The names of the members that differ between two objects.
fn changed_members(old: &Object, new: &Object) -> Vec<String> {
    let names = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    names
        .filter(|name| old.get(*name) != new.get(*name))
        .cloned()
        .collect()
}

/// Whether the items of lists in a member have the keys that tell them apart.
fn can_be_owned(ty: TypeRef<'_>, name: &str, object: &Object) -> bool {
    match (object.get(name), ty.field(name)) {
        (Some(value), Some((_, ty))) => check::items_have_keys(value, ty),
        _ => true,
    }
}

fn sent_or_live(live: Option<&Object>, new: &Object, write: &Write<'_>) -> Managers {
    let of_live =
        || live.map(|live| Managers::decode(meta::managed_fields(live)).unwrap_or_default());
    if !write.subresource.is_empty() {
        return of_live().unwrap_or_default();
    }
    let sent = meta::managed_fields(new);
    let is_reset = match sent {
        [] => meta::metadata(new).is_some_and(|m| m.contains_key("managedFields")),
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    };
    if is_reset {
        return Managers::default();
    }
    match Managers::decode(sent) {
        Ok(managers) if !managers.is_empty() => managers,
        _ => of_live().unwrap_or_default(),
    }
}

/// Gives the manager what it changed, and takes it from the others.
fn track(changes: Changes, managers: &mut Managers, write: &Write<'_>) {
    let this = Manager::update(write.manager, write.api_version, write.subresource);
    // In the end the manager's own set is joined with what it owned before, so that it may lose removed fields alone.
    managers.retain_fields(|owned| changes.take_from(owned), &this);
    let Differences {
        mut changed,
        removed,
    } = changes.own;
    managers.take_from(&this, &removed);
    changed.subtract(&STRIPPED);
    if !changed.is_empty() {
        managers.add(this, write.api_version, changed.into(), write.now);
    }
}

#[derive(Debug, Default)]
struct Differences {
    /// Added or modified.
    changed: FieldSet,
    removed: FieldSet,
}

/// What changes, in the version that is written and in those of other managers.
#[derive(Debug)]
struct Changes {
    own: Differences,
    others: BTreeMap<String, Differences>,
}

impl Changes {
    /// Of two objects that differ in the members `changed`. Managers of versions that there are not lose their entries here.
    fn between(
        ty: TypeRef<'_>,
        old: &Object,
        new: &Object,
        changed: &[String],
        managers: &mut Managers,
        write: &Write<'_>,
    ) -> Self {
        let mut others = BTreeMap::new();
        let mut missing = Vec::new();
        for (_, owned) in managers.iter() {
            let version = owned.api_version.as_str();
            if version == write.api_version || others.contains_key(version) {
                continue;
            }
            let convert = |object| write.versions.convert(object, write.api_version, version);
            match (convert(old), convert(new)) {
                (Converted::Object(ty, old), Converted::Object(_, new)) => {
                    let changed = changed_members(&old, &new);
                    let difference = differences(ty, &old, &new, &changed, write.ignored);
                    others.insert(version.to_owned(), difference);
                }
                (Converted::Missing, _) => missing.push(version.to_owned()),
                _ => {}
            }
        }
        managers.retain_versions(|version| !missing.iter().any(|m| m == version));
        Self {
            own: differences(ty, old, new, changed, write.ignored),
            others,
        }
    }

    fn of(&self, api_version: &str) -> &Differences {
        self.others.get(api_version).unwrap_or(&self.own)
    }

    /// Takes from a manager's fields what changed.
    fn take_from(&self, owned: &mut Owned) {
        let of = self.of(&owned.api_version);
        owned.fields.subtract(&of.changed);
        owned.fields.subtract(&of.removed);
    }
}

fn differences(
    ty: TypeRef<'_>,
    old: &Object,
    new: &Object,
    changed: &[String],
    ignored: &FieldSet,
) -> Differences {
    let mut added = FieldSet::default();
    let mut modified = FieldSet::default();
    let mut removed = FieldSet::default();
    for name in changed {
        let inner = ty.field(name).map(|(_, ty)| ty);
        let below = compare(old.get(name), new.get(name), inner);
        for (to, from) in [
            (&mut added, below.added),
            (&mut modified, below.modified),
            (&mut removed, below.removed),
        ] {
            to.attach(set::field_step(name), from);
        }
    }
    for set in [&mut added, &mut modified, &mut removed] {
        set.subtract_recursively(ignored);
    }
    modified.absorb(added);
    Differences {
        changed: modified,
        removed,
    }
}

/// Server-side apply of `config` on the live object, or on none.
///
/// # Errors
/// Conflicts with other managers unless forced; a configuration with unknown fields or wrong types.
pub fn apply(
    ty: TypeRef<'_>,
    live: Option<&Object>,
    config: &Object,
    force: bool,
    write: &Write<'_>,
) -> Result<Applied, ApplyError> {
    if meta::metadata(config).is_some_and(|m| m.get("managedFields").is_some_and(Value::is_array)) {
        return Err(ApplyError::ManagedFields);
    }
    check_configuration(ty, config, write)?;
    let mut applied = match apply_checked(ty, live, config, force, write) {
        // Whoever moves from kubectl's own kind of apply to this one owns already what that one recorded.
        Err(ApplyError::Conflicts(conflicts)) if write.manager == last_applied::MANAGER => {
            let own = live.and_then(|live| last_applied::own_fields(ty, live, write));
            let left = match own {
                Some(own) => last_applied::without(conflicts, &own),
                None => conflicts,
            };
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            apply_checked(ty, live, config, true, write)
        }
        result => result,
    }?;
    if write.manager == last_applied::MANAGER {
        last_applied::record(&mut applied.object, config);
    }
    Ok(applied)
}

fn check_configuration(
    ty: TypeRef<'_>,
    config: &Object,
    write: &Write<'_>,
) -> Result<(), ApplyError> {
    check::configuration(config, ty, Nulls::Allowed).map_err(|error| {
        let (group, version) = write
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", write.api_version));
        ApplyError::Typed(format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): {error}",
            meta::namespace(config),
            meta::name(config),
            meta::kind(config),
        ))
    })
}

fn apply_checked(
    ty: TypeRef<'_>,
    live: Option<&Object>,
    config: &Object,
    force: bool,
    write: &Write<'_>,
) -> Result<Applied, ApplyError> {
    let config = Value::Object(config.clone());
    let mut managers = match live {
        Some(live) => {
            let mut managers = Managers::decode(meta::managed_fields(live)).unwrap_or_default();
            if managers.is_empty() {
                // Whatever was there before the first apply has an owner, too.
                let before = Write {
                    manager: "before-first-apply",
                    ..*write
                };
                let blank = blank(ty);
                let changed = changed_members(&blank, live);
                let changes = Changes::between(ty, &blank, live, &changed, &mut managers, &before);
                track(changes, &mut managers, &before);
            }
            managers
        }
        None => Managers::default(),
    };
    let mut base = live.cloned().unwrap_or_else(|| blank(ty));
    meta::set_managed_fields(&mut base, Vec::new());
    let base_value = Value::Object(base);

    let merged = merge(Some(&base_value), Some(&config), Some(ty)).unwrap_or_default();
    let this = Manager::apply(write.manager, write.subresource);
    let last = managers.get(&this).cloned();
    let stated = field_set(&config, Some(ty))
        .children
        .recursive_difference(write.ignored);
    let owned = Owned {
        fields: stated.clone().into(),
        api_version: write.api_version.to_owned(),
        time: time::format(write.now),
    };
    managers.insert(this.clone(), owned);
    let pruned = match &last {
        Some(last) if !last.fields.is_empty() => prune::prune(merged, last, &managers, ty, write),
        _ => merged,
    };
    let Value::Object(mut object) = pruned else {
        return Err(ApplyError::Typed(
            "nothing is left of the object".to_owned(),
        ));
    };

    let base = match &base_value {
        Value::Object(base) => base,
        _ => return Err(ApplyError::Typed("the live object is no object".to_owned())),
    };
    let changed = changed_members(base, &object);
    let changes = Changes::between(ty, base, &object, &changed, &mut managers, write);
    if !force {
        let conflicts = conflict::find(&managers, &this, &changes);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    managers.retain_fields(|owned| changes.take_from(owned), &this);
    let changed = !changed.is_empty();
    // An apply that changes nothing leaves the time of its entry as it was; a new entry then has none.
    let time = if changed {
        time::format(write.now)
    } else {
        last.map(|last| last.time).unwrap_or_default()
    };
    let owned = Owned {
        fields: stated.difference(&STRIPPED).into(),
        api_version: write.api_version.to_owned(),
        time,
    };
    managers.restate(this, owned);
    meta::set_managed_fields(&mut object, managers.encode());
    Ok(Applied { object, changed })
}

/// A configuration merged into an object by its type, without anybody owning anything: what a mutating policy does.
///
/// # Errors
/// Unknown fields, wrong types, and parts that can only be replaced as a whole, in upstream's words.
pub fn merge_configuration(
    ty: TypeRef<'_>,
    live: &Object,
    config: &Object,
    nulls: Nulls,
) -> Result<Object, String> {
    check::configuration(config, ty, nulls)
        .map_err(|error| format!("failed to convert patch object to typed object: {error}"))?;
    let config = Value::Object(config.clone());
    let mut atomic = Vec::new();
    typed::atomic_parts(&config, ty, "", &mut atomic);
    if !atomic.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            atomic.join(", ")
        ));
    }
    let live = Value::Object(live.clone());
    match merge(Some(&live), Some(&config), Some(ty)) {
        Some(Value::Object(merged)) => Ok(merged),
        _ => Err("failed to merge patch: nothing is left of the object".to_owned()),
    }
}

/// Whether nothing differs but the times of entries of managers: a write without effect must not change the object.
///
/// Upstream decides the same after admission, so that a no-op apply or update does not raise the resourceVersion.
pub fn equal_but_times(a: &Object, b: &Object) -> bool {
    let (owners_a, owners_b) = (meta::managed_fields(a), meta::managed_fields(b));
    equal_but_owners(a, b)
        && owners_a.len() == owners_b.len()
        && owners_a
            .iter()
            .all(|a| owners_b.iter().any(|b| equal_entries(a, b)))
}

/// Whether nothing differs but who owns what.
pub fn equal_but_owners(a: &Object, b: &Object) -> bool {
    let empty = Object::new();
    let metadata = |object| meta::metadata(object).unwrap_or(&empty);
    equal_but(a, b, "metadata")
        && a.contains_key("metadata") == b.contains_key("metadata")
        && equal_but(metadata(a), metadata(b), "managedFields")
}

fn equal_entries(a: &Value, b: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else {
        return a == b;
    };
    let members = |entry: &Object| entry.len() - usize::from(entry.contains_key("time"));
    members(a) == members(b)
        && a.iter().all(|(name, value)| match name.as_str() {
            "time" => true,
            "fieldsV1" => stored::same_fields(Some(value), b.get(name)),
            _ => b.get(name) == Some(value),
        })
}

/// Whether two objects have the same members, one aside. Looked at from the last, which is often the `status` and often the one that differs.
fn equal_but(a: &Object, b: &Object, field: &str) -> bool {
    let members = |object: &Object| object.len() - usize::from(object.contains_key(field));
    members(a) == members(b)
        && a.iter()
            .rev()
            .filter(|(name, _)| *name != field)
            .all(|(name, value)| b.get(name) == Some(value))
}

#[cfg(test)]
mod tests;
