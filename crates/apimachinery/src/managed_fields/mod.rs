//! Who owns which field: tracking for writes, and server-side apply with conflicts.
//!
//! `metadata.managedFields` has an entry for each manager, operation, version and subresource. A write gives its manager the fields that it
//! changed, and takes them from all others; an apply states what its manager wants to own, fails where another manager owns
//! a field with another value (unless forced), and removes what the manager owned before and no longer states. After upstream's
//! `apimachinery/pkg/util/managedfields` and structured-merge-diff.

mod conflict;
mod managers;
mod scale;
mod set;
mod typed;

use std::{collections::BTreeMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{Object, decode, meta, schema::TypeRef, time};
use managers::{Manager, Managers};
use set::Entry;
use typed::{compare, field_set, merge, remove, with_named_fields};

pub use conflict::Conflict;
pub use scale::{of_parent, of_scale};
pub use set::FieldSet;

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

/// The versions of a kind.
pub trait Versions: std::fmt::Debug + Sync {
    /// An object of the version that is written, in another; `None` if there is no such version, or it has the same fields.
    fn convert(&self, object: &Object, api_version: &str) -> Option<(TypeRef<'static>, Object)>;
}

/// One version, or several that have the same fields.
#[derive(Clone, Copy, Debug)]
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _object: &Object, _api_version: &str) -> Option<(TypeRef<'static>, Object)> {
        None
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

/// Tracks a create (`live` is `None`), update or patch: puts `metadata.managedFields` into `new`, which is complete otherwise.
///
/// `managedFields` that the client sent count if they are valid, those of the live object if not; a subresource cannot change them
/// directly; `[{}]` clears them.
pub fn update(ty: TypeRef<'_>, live: Option<&Object>, new: &mut Object, write: &Write<'_>) {
    let mut managers = sent_or_live(live, new, write);
    if managers.is_empty() && live.is_some() {
        // An object that nobody tracked so far stays so until the first apply.
        meta::set_managed_fields(new, Vec::new());
        return;
    }
    let blank_object;
    let live = match live {
        Some(live) => live,
        None => {
            blank_object = blank(ty);
            &blank_object
        }
    };
    track(ty, live, new, &mut managers, write);
    managers.cap_updates();
    meta::set_managed_fields(new, managers.encode());
}

fn sent_or_live(live: Option<&Object>, new: &Object, write: &Write<'_>) -> Managers {
    let of_live =
        || live.map(|live| Managers::decode(meta::managed_fields(live)).unwrap_or_default());
    let sent = meta::managed_fields(new);
    if !write.subresource.is_empty() {
        return of_live().unwrap_or_default();
    }
    if sent.len() == 1 && sent[0].as_object().is_some_and(Map::is_empty) {
        return Managers::default();
    }
    match Managers::decode(sent) {
        Some(managers) if !managers.is_empty() => managers,
        _ => of_live().unwrap_or_default(),
    }
}

/// Gives the manager what it changed, and takes it from the others.
fn track(ty: TypeRef<'_>, live: &Object, new: &Object, managers: &mut Managers, write: &Write<'_>) {
    let changes = Changes::between(ty, live, new, managers, write);
    let this = Manager::update(write.manager, write.api_version, write.subresource);
    // In the end the manager's own set is joined with what it owned before, so that it may lose removed fields alone.
    managers.retain_fields(|manager, set| changes.take_from(manager, set), &this);
    let Differences {
        mut changed,
        removed,
    } = changes.own;
    managers.change_fields(&this, |set| set.subtract(&removed));
    changed.subtract(&STRIPPED);
    if !changed.is_empty() {
        managers.add(this, changed, write.now);
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
    fn between(
        ty: TypeRef<'_>,
        old: &Object,
        new: &Object,
        managers: &Managers,
        write: &Write<'_>,
    ) -> Self {
        let mut others = BTreeMap::new();
        for (manager, _) in managers.iter() {
            let version = manager.api_version.as_str();
            if version == write.api_version || others.contains_key(version) {
                continue;
            }
            let convert = |object| write.versions.convert(object, version);
            if let (Some((ty, old)), Some((_, new))) = (convert(old), convert(new)) {
                let difference = differences(ty, &old, &new, write.ignored);
                others.insert(version.to_owned(), difference);
            }
        }
        Self {
            own: differences(ty, old, new, write.ignored),
            others,
        }
    }

    fn of(&self, manager: &Manager) -> &Differences {
        self.others.get(&manager.api_version).unwrap_or(&self.own)
    }

    /// Takes from a manager's fields what changed.
    fn take_from(&self, manager: &Manager, set: &mut FieldSet) {
        let of = self.of(manager);
        set.subtract(&of.changed);
        set.subtract(&of.removed);
    }
}

fn differences(ty: TypeRef<'_>, old: &Object, new: &Object, ignored: &FieldSet) -> Differences {
    let mut added = FieldSet::default();
    let mut modified = FieldSet::default();
    let mut removed = FieldSet::default();
    let names = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    for name in names {
        let (a, b) = (old.get(name), new.get(name));
        if a == b {
            continue;
        }
        let inner = ty.field(name).map(|(_, ty)| ty);
        let below = compare(a, b, inner);
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
    if !meta::managed_fields(config).is_empty() {
        return Err(ApplyError::ManagedFields);
    }
    let config = Value::Object(config.clone());
    typed::check(&config, Some(ty), "").map_err(|error| {
        let object = config.as_object().cloned().unwrap_or_default();
        let (group, version) = write
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", write.api_version));
        ApplyError::Typed(format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): {error}",
            meta::namespace(&object),
            meta::name(&object),
            meta::kind(&object),
        ))
    })?;
    let mut managers = match live {
        Some(live) => {
            let mut managers = Managers::decode(meta::managed_fields(live)).unwrap_or_default();
            if managers.is_empty() {
                // Whatever was there before the first apply has an owner, too.
                let before = Write {
                    manager: "before-first-apply",
                    ..*write
                };
                track(ty, &blank(ty), live, &mut managers, &before);
            }
            managers
        }
        None => Managers::default(),
    };
    let mut base = live.cloned().unwrap_or_else(|| blank(ty));
    meta::set_managed_fields(&mut base, Vec::new());
    let base_value = Value::Object(base);

    let merged = merge(Some(&base_value), Some(&config), Some(ty)).unwrap_or_default();
    let this = Manager::apply(write.manager, write.api_version, write.subresource);
    let last = managers.fields(&this).cloned();
    let last_time = managers.time(&this).map(str::to_owned);
    let stated = field_set(&config, Some(ty))
        .children
        .recursive_difference(write.ignored);
    managers.set_fields(this.clone(), stated.clone(), write.now);
    let pruned = match &last {
        Some(last) if !last.is_empty() => prune(&merged, last, &managers, ty),
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
    let changes = Changes::between(ty, base, &object, &managers, write);
    if !force {
        let conflicts = conflict::find(&managers, &this, &changes);
        if !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
    }
    managers.retain_fields(|manager, set| changes.take_from(manager, set), &this);
    let owned = stated.difference(&STRIPPED);
    let changed = *base != object;
    // An apply that changes nothing leaves the time of its entry as it was; a new entry then has none.
    let time = if changed {
        time::format(write.now)
    } else {
        last_time.unwrap_or_default()
    };
    managers.restate(this, owned, time);
    managers.cap_updates();
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
) -> Result<Object, String> {
    let config = Value::Object(config.clone());
    typed::check(&config, Some(ty), "")
        .map_err(|error| format!("failed to convert patch object to typed object: {error}"))?;
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

/// Takes away what the manager owned before and states no longer, unless another manager owns it.
fn prune(merged: &Value, last: &FieldSet, managers: &Managers, ty: TypeRef<'_>) -> Value {
    let ty = Some(ty);
    let fields = |value: &Value| {
        let Entry { children, .. } = field_set(value, ty);
        with_named_fields(&children, ty)
    };
    let last = with_named_fields(last, ty);
    let mut pruned = remove(merged, &last, ty);
    // What anybody owns comes back.
    let all = fields(merged);
    for (_, owned) in managers.iter() {
        let kept = fields(&pruned).union(&with_named_fields(owned, ty));
        pruned = remove(merged, &all.difference(&kept), ty);
    }
    // And so does what was not the manager's own, but fell with what was around it.
    let dangling = all.difference(&fields(&pruned)).intersection(&last);
    remove(merged, &dangling, ty)
}

/// Whether nothing differs but the times of entries of managers: a write without effect must not change the object.
///
/// Upstream decides the same after admission, so that a no-op apply or update does not raise the resourceVersion.
pub fn equal_but_times(a: &Object, b: &Object) -> bool {
    let empty = Object::new();
    let metadata = |object| meta::metadata(object).unwrap_or(&empty);
    let (owners_a, owners_b) = (meta::managed_fields(a), meta::managed_fields(b));
    equal_but(a, b, "metadata")
        && a.contains_key("metadata") == b.contains_key("metadata")
        && equal_but(metadata(a), metadata(b), "managedFields")
        && owners_a.len() == owners_b.len()
        && owners_a
            .iter()
            .all(|a| owners_b.iter().any(|b| equal_entries(a, b)))
}

fn equal_entries(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => equal_but(a, b, "time"),
        _ => a == b,
    }
}

/// Whether two objects have the same members, one aside.
fn equal_but(a: &Object, b: &Object, field: &str) -> bool {
    let members = |object: &Object| object.len() - usize::from(object.contains_key(field));
    members(a) == members(b)
        && a.iter()
            .filter(|(name, _)| *name != field)
            .all(|(name, value)| b.get(name) == Some(value))
}

#[cfg(test)]
mod tests;
