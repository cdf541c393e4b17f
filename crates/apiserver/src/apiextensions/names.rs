//! Who may bear which names in a group: what is claimed first is kept, and `status.acceptedNames` says what each definition has got.
//!
//! Follows upstream's `NamingConditionController` and `EstablishingController`, whose conditions are set here in one step: a single
//! server serves a resource the moment it says so.

use std::collections::HashSet;

use apimachinery::Object;
use serde_json::{Value, json};

use super::conditions::{self, Condition, ESTABLISHED, NAMES_ACCEPTED};
use crate::lookup;

/// The names of a kind, as `spec.names` asks for them and `status.acceptedNames` grants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) short_names: Vec<String>,
    pub(super) kind: String,
    pub(super) list_kind: String,
    pub(super) categories: Vec<String>,
}

impl Names {
    /// What a definition asks for.
    pub(super) fn wanted(definition: &Object) -> Self {
        Self::at(definition, &["spec", "names"])
    }

    /// What it has got.
    pub(super) fn accepted(definition: &Object) -> Self {
        Self::at(definition, &["status", "acceptedNames"])
    }

    fn at(definition: &Object, path: &[&str]) -> Self {
        let empty = Object::new();
        let names = lookup::map(definition, path).unwrap_or(&empty);
        let text = |field: &str| lookup::text(names, &[field]).to_owned();
        Self {
            plural: text("plural"),
            singular: text("singular"),
            short_names: lookup::strings(names, &["shortNames"]),
            kind: text("kind"),
            list_kind: text("listKind"),
            categories: lookup::strings(names, &["categories"]),
        }
    }

    /// As `status.acceptedNames`: plural and kind are always said.
    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({ "plural": self.plural, "kind": self.kind });
        for (field, text) in [("singular", &self.singular), ("listKind", &self.list_kind)] {
            if !text.is_empty() {
                value[field] = text.as_str().into();
            }
        }
        for (field, list) in [
            ("shortNames", &self.short_names),
            ("categories", &self.categories),
        ] {
            if !list.is_empty() {
                value[field] = json!(list);
            }
        }
        value
    }
}

/// The names that are taken in a group.
#[derive(Debug, Default)]
pub(super) struct Claimed<'a> {
    /// Plurals, singulars, short names.
    resources: HashSet<&'a str>,
    /// Kinds and kinds of lists.
    kinds: HashSet<&'a str>,
}

impl<'a> Claimed<'a> {
    /// Adds what a definition has got.
    pub(super) fn add(&mut self, names: &'a Names) {
        let resources = [&names.plural, &names.singular];
        let resources = resources.into_iter().chain(&names.short_names);
        self.resources.extend(resources.map(String::as_str));
        self.kinds
            .extend([names.kind.as_str(), names.list_kind.as_str()]);
    }
}

/// What a definition gets of what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) names: Names,
    pub(super) names_accepted: Condition,
    pub(super) established: Condition,
}

/// Decides on the names of a definition, given what its group has claimed (its own claims among it).
pub(super) fn judge(definition: &Object, claimed: &Claimed<'_>) -> Verdict {
    let wanted = Names::wanted(definition);
    let accepted = Names::accepted(definition);
    let mut names = accepted.clone();
    let mut conflict = None;
    // The last conflict is the one that is told.
    let mut check = |granted: &mut String, wanted: &str, used: &HashSet<&str>, reason| {
        if granted == wanted || !used.contains(wanted) {
            wanted.clone_into(granted);
        } else {
            conflict = Some((reason, format!("{wanted:?} is already in use")));
        }
    };
    let resources = &claimed.resources;
    check(
        &mut names.plural,
        &wanted.plural,
        resources,
        "PluralConflict",
    );
    check(
        &mut names.singular,
        &wanted.singular,
        resources,
        "SingularConflict",
    );
    if wanted.short_names != accepted.short_names {
        let taken: Vec<String> = wanted
            .short_names
            .iter()
            .filter(|name| {
                !accepted.short_names.contains(name) && resources.contains(name.as_str())
            })
            .map(|name| format!("{name:?} is already in use"))
            .collect();
        if taken.is_empty() {
            names.short_names.clone_from(&wanted.short_names);
        } else {
            conflict = Some(("ShortNamesConflict", aggregate(taken)));
        }
    }
    let mut check = |granted: &mut String, wanted: &str, reason| {
        if granted == wanted || !claimed.kinds.contains(wanted) {
            wanted.clone_into(granted);
        } else {
            conflict = Some((reason, format!("{wanted:?} is already in use")));
        }
    };
    check(&mut names.kind, &wanted.kind, "KindConflict");
    check(&mut names.list_kind, &wanted.list_kind, "ListKindConflict");
    names.categories.clone_from(&wanted.categories);
    let names_accepted = match conflict {
        Some((reason, message)) => Condition::new(NAMES_ACCEPTED, false, reason, message),
        None => Condition::new(NAMES_ACCEPTED, true, "NoConflicts", "no conflicts found"),
    };
    // Once established, a definition stays so, whatever becomes of its names.
    let established =
        names_accepted.status == Some(true) || conditions::is_true(definition, ESTABLISHED);
    let established = if established {
        Condition::new(
            ESTABLISHED,
            true,
            "InitialNamesAccepted",
            "the initial names have been accepted",
        )
    } else {
        Condition::new(
            ESTABLISHED,
            false,
            "NotAccepted",
            "not all names are accepted",
        )
    };
    Verdict {
        names,
        names_accepted,
        established,
    }
}

/// Several errors in one text, as upstream's aggregates: in brackets if there is more than one.
fn aggregate(mut errors: Vec<String>) -> String {
    errors.dedup();
    if errors.len() == 1 {
        errors.remove(0)
    } else {
        format!("[{}]", errors.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn definition(names: Value, accepted: Value) -> Object {
        let object = json!({"spec": {"names": names}, "status": {"acceptedNames": accepted}});
        object.as_object().unwrap().clone()
    }

    fn claimed() -> Claimed<'static> {
        static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
            plural: "widgets".to_owned(),
            singular: "widget".to_owned(),
            short_names: vec!["wd".to_owned(), "wi".to_owned()],
            kind: "Widget".to_owned(),
            list_kind: "WidgetList".to_owned(),
            categories: vec!["all".to_owned()],
        });
        let mut claimed = Claimed::default();
        claimed.add(&NAMES);
        claimed
    }

    #[test]
    fn free_names_are_granted() {
        let names = json!({"plural": "gadgets", "singular": "gadget", "shortNames": ["gd"], "kind": "Gadget",
            "listKind": "GadgetList", "categories": ["all"]});
        let verdict = judge(&definition(names.clone(), Value::Null), &claimed());
        assert_eq!(verdict.names.to_value(), names);
        assert_eq!(verdict.names_accepted.status, Some(true));
        assert_eq!(verdict.established.status, Some(true));
    }

    #[test]
    fn of_several_conflicts_the_last_is_told_and_the_rest_is_granted() {
        let names = json!({"plural": "widgets2", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
        let verdict = judge(&definition(names, Value::Null), &claimed());
        assert_eq!(
            verdict.names.to_value(),
            json!({"plural": "widgets2", "kind": ""})
        );
        assert_eq!(verdict.names_accepted.reason, "ListKindConflict");
        assert_eq!(
            verdict.names_accepted.message,
            "\"WidgetList\" is already in use"
        );
        assert_eq!(verdict.established.reason, "NotAccepted");
    }

    #[test]
    fn short_names_are_granted_all_or_none() {
        let names = json!({"plural": "a", "shortNames": ["wd", "x", "wi"], "kind": "A"});
        let verdict = judge(&definition(names, Value::Null), &claimed());
        assert_eq!(
            verdict.names_accepted.message,
            "[\"wd\" is already in use, \"wi\" is already in use]"
        );
        assert_eq!(
            verdict.names.to_value(),
            json!({"plural": "a", "kind": "A"})
        );
    }

    #[test]
    fn what_one_has_got_is_no_conflict() {
        let names = json!({"plural": "widgets", "singular": "widget", "shortNames": ["wd", "wi"], "kind": "Widget",
            "listKind": "WidgetList"});
        let verdict = judge(&definition(names.clone(), names), &claimed());
        assert_eq!(verdict.names_accepted.status, Some(true));
    }
}
