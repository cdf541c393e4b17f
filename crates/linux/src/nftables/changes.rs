//! The difference of two tables, in an order that the kernel can carry out step by step: what is referred to is made first and
//! removed last.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Chain, Element, Set, Table, Verdict};

/// A set's name, and elements of it; in a map each with its verdict.
pub(super) type SetElements = (String, Vec<(Element, Option<Verdict>)>);

/// What must be done to turn one table into another. Pure data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The table is made anew: whatever has its name is removed first.
    pub(super) recreate: bool,
    pub(super) add_sets: Vec<String>,
    pub(super) add_chains: Vec<String>,
    pub(super) remove_elements: Vec<(String, Vec<Element>)>,
    pub(super) add_elements: Vec<SetElements>,
    /// Chains whose rules are written: flushed first if they were there before.
    pub(super) write_rules: Vec<String>,
    /// Chains that go: all are flushed before the first is removed, since they may jump to each other.
    pub(super) remove_chains: Vec<String>,
    pub(super) remove_sets: Vec<String>,
}

impl Changes {
    /// From `old` to `new`; `old` is `None` when the kernel's state is not known.
    pub fn between(old: Option<&Table>, new: &Table) -> Self {
        let Some(old) = old else {
            return Self {
                recreate: true,
                add_sets: new.sets.keys().cloned().collect(),
                add_chains: new.chains.keys().cloned().collect(),
                add_elements: elements_of(&new.sets),
                write_rules: new.chains.keys().cloned().collect(),
                ..Self::default()
            };
        };
        let mut changes = Self::default();
        changes.compare_sets(&old.sets, &new.sets);
        changes.compare_chains(
            &old.chains,
            &new.chains,
            &replaced_sets(&old.sets, &new.sets),
        );
        changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn compare_sets(&mut self, old: &BTreeMap<String, Set>, new: &BTreeMap<String, Set>) {
        for (name, set) in new {
            match old.get(name).filter(|before| same_shape(before, set)) {
                None => {
                    self.add_sets.push(name.clone());
                    self.add_elements.extend(elements_of_one(name, set));
                }
                Some(before) => self.compare_elements(name, before, set),
            }
        }
        self.remove_sets = old
            .keys()
            .filter(|name| !new.contains_key(*name))
            .cloned()
            .collect();
    }

    fn compare_elements(&mut self, name: &str, old: &Set, new: &Set) {
        let removed: Vec<Element> = old
            .elements
            .iter()
            .filter(|(key, verdict)| new.elements.get(*key) != Some(*verdict))
            .map(|(key, _)| key.clone())
            .collect();
        let added: Vec<_> = new
            .elements
            .iter()
            .filter(|(key, verdict)| old.elements.get(*key) != Some(*verdict))
            .map(|(key, verdict)| (key.clone(), verdict.clone()))
            .collect();
        if !removed.is_empty() {
            self.remove_elements.push((name.to_owned(), removed));
        }
        if !added.is_empty() {
            self.add_elements.push((name.to_owned(), added));
        }
    }

    fn compare_chains(
        &mut self,
        old: &BTreeMap<String, Chain>,
        new: &BTreeMap<String, Chain>,
        replaced_sets: &BTreeSet<&str>,
    ) {
        debug_assert!(
            replaced_sets.is_empty(),
            "a set's shape is part of its name"
        );
        for (name, chain) in new {
            match old.get(name) {
                None => {
                    self.add_chains.push(name.clone());
                    self.write_rules.push(name.clone());
                }
                Some(before) if before.rules != chain.rules => self.write_rules.push(name.clone()),
                Some(_) => {}
            }
        }
        self.remove_chains = old
            .keys()
            .filter(|name| !new.contains_key(*name))
            .cloned()
            .collect();
    }
}

fn same_shape(a: &Set, b: &Set) -> bool {
    a.fields == b.fields && a.is_map == b.is_map && a.timeout == b.timeout
}

fn replaced_sets<'a>(
    old: &BTreeMap<String, Set>,
    new: &'a BTreeMap<String, Set>,
) -> BTreeSet<&'a str> {
    new.iter()
        .filter(|(name, set)| {
            old.get(*name)
                .is_some_and(|before| !same_shape(before, set))
        })
        .map(|(name, _)| name.as_str())
        .collect()
}

fn elements_of(sets: &BTreeMap<String, Set>) -> Vec<SetElements> {
    sets.iter()
        .filter_map(|(name, set)| elements_of_one(name, set))
        .collect()
}

fn elements_of_one(name: &str, set: &Set) -> Option<SetElements> {
    let elements: Vec<_> = set
        .elements
        .iter()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    (!elements.is_empty()).then(|| (name.to_owned(), elements))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nftables::{Family, Key, KeyField, Statement};

    fn table(ports: &[u16], target: &str) -> Table {
        let mut table = Table::new(Family::Ip, "t");
        let mut map = Set::verdict_map(&[KeyField::DestinationPort]);
        for &port in ports {
            map.elements.insert(
                vec![Key::Port(port)],
                Some(Verdict::Goto(target.to_owned())),
            );
        }
        table.sets.insert("ports".to_owned(), map);
        table
            .chain(target)
            .rules
            .push(vec![Statement::Verdict(Verdict::Accept)]);
        table
    }

    #[test]
    fn equal_tables_need_nothing() {
        assert!(Changes::between(Some(&table(&[1], "a")), &table(&[1], "a")).is_empty());
    }

    #[test]
    fn one_element_is_one_element() {
        let changes = Changes::between(Some(&table(&[1], "a")), &table(&[1, 2], "a"));
        let expected = Changes {
            add_elements: vec![(
                "ports".to_owned(),
                vec![(vec![Key::Port(2)], Some(Verdict::Goto("a".to_owned())))],
            )],
            ..Changes::default()
        };
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_changed_verdict_is_removed_and_added() {
        let changes = Changes::between(Some(&table(&[1], "a")), &table(&[1], "b"));
        assert_eq!(
            changes.remove_elements,
            [("ports".to_owned(), vec![vec![Key::Port(1)]])]
        );
        assert_eq!(changes.add_chains, ["b"]);
        assert_eq!(changes.remove_chains, ["a"]);
    }

    #[test]
    fn an_unknown_kernel_state_is_replaced() {
        let changes = Changes::between(None, &table(&[1], "a"));
        assert!(changes.recreate);
        assert_eq!(changes.write_rules, ["a"]);
    }
}
