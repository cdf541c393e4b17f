//! What an apply takes away: what its manager stated before and states no longer, unless somebody else owns it.
//!
//! What the manager stated it stated in some version, and others own fields of theirs, so the object passes through those versions.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use super::{
    Converted, Write,
    managers::{Managers, Owned},
    set::{Entry, FieldSet},
    typed::{field_set, remove, with_named_fields},
};
use crate::schema::TypeRef;

/// An object in one version.
#[derive(Clone)]
struct Versioned<'t, 'v> {
    value: Cow<'t, Value>,
    ty: TypeRef<'t>,
    version: Cow<'v, str>,
}

impl<'t, 'v> Versioned<'t, 'v> {
    /// `None` if there is no such version.
    fn converted(&self, to: &'v str, write: &Write<'_>) -> Option<Self> {
        if *self.version == *to {
            return Some(self.clone());
        }
        let object = self.value.as_object()?;
        let (value, ty) = match write.versions.convert(object, &self.version, to) {
            Converted::Same => (self.value.clone(), self.ty),
            Converted::Missing => return None,
            Converted::Object(ty, object) => (Cow::Owned(Value::Object(object)), ty),
        };
        Some(Self {
            value,
            ty,
            version: Cow::Borrowed(to),
        })
    }

    /// The fields that it sets, those on the way to them included.
    fn fields(&self) -> FieldSet {
        let Entry { children, .. } = field_set(&self.value, Some(self.ty));
        with_named_fields(children.view(), Some(self.ty))
    }

    fn named(&self, fields: &FieldSet) -> FieldSet {
        with_named_fields(fields.view(), Some(self.ty))
    }

    fn without(&self, fields: &FieldSet) -> Self {
        Self {
            value: Cow::Owned(remove(&self.value, fields.view(), Some(self.ty))),
            ..self.clone()
        }
    }
}

/// The merged object without what the manager stated last and nobody owns any more.
pub(super) fn prune(
    merged: Value,
    last: &Owned,
    managers: &Managers,
    ty: TypeRef<'_>,
    write: &Write<'_>,
) -> Value {
    let whole = Versioned {
        value: Cow::Borrowed(&merged),
        ty,
        version: Cow::Borrowed(write.api_version),
    };
    let pruned = whole
        .converted(&last.api_version, write)
        .and_then(|whole| taken_away(&whole, last, managers, write))
        .and_then(|pruned| pruned.converted(write.api_version, write));
    match pruned {
        Some(pruned) => pruned.value.into_owned(),
        None => merged,
    }
}

fn taken_away<'t, 'v>(
    whole: &Versioned<'t, 'v>,
    last: &'v Owned,
    managers: &'v Managers,
    write: &Write<'_>,
) -> Option<Versioned<'t, 'v>> {
    let stated = whole.named(last.fields.set());
    let mut pruned = whole.without(&stated);
    // What anybody owns comes back, in the version that was pruned first.
    let mut owned: BTreeMap<(bool, &str), FieldSet> = BTreeMap::new();
    for (_, other) in managers.iter() {
        let key = (
            other.api_version != last.api_version,
            other.api_version.as_str(),
        );
        owned.entry(key).or_default().extend(other.fields.set());
    }
    for ((_, version), fields) in owned {
        let (Some(all), Some(left)) = (
            whole.converted(version, write),
            pruned.converted(version, write),
        ) else {
            continue;
        };
        let kept = left.fields().union(&all.named(&fields));
        pruned = all.without(&all.fields().difference(&kept));
    }
    // And so does what was not the manager's own, but fell with what was around it.
    let pruned = pruned.converted(&last.api_version, write)?;
    let dangling = whole
        .fields()
        .difference(&pruned.fields())
        .intersection(&stated);
    Some(whole.without(&dangling))
}
