//! The store against a model that is too simple to be wrong: a whole map for each revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::Store;
use crate::{KeyRange, LeaseId, Op, RangeRequest, Revision, Txn};

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8, u8),
    Both(u8, u8),
    /// Compact so many percent of the way, and scrub.
    Compact(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..8_u8, 0..9_u8).prop_map(|(from, to)| Step::Delete(from, to)),
        2 => (0..8_u8, 0..8_u8).prop_map(|(put, deleted)| Step::Both(put, deleted)),
        1 => (0..=100_u8).prop_map(Step::Compact),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'k', number])
}

fn put(number: u8, value: u8) -> Op {
    Op::Put {
        key: key(number),
        value: vec![value].into(),
        lease: LeaseId::default(),
    }
}

type State = BTreeMap<Bytes, Bytes>;

fn read(store: &Store, revision: i64) -> State {
    let request = RangeRequest {
        revision: Some(Revision(revision)),
        ..RangeRequest::new(KeyRange::prefix("k"))
    };
    let kvs = store
        .range(&request, store.head())
        .expect("the revision is readable")
        .kvs;
    kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// All reads and all changes agree with the states that were.
fn check(store: &Store, states: &[State]) {
    let first = store.compacted().0.max(1);
    let head = store.head().0;
    assert_eq!(head, states.len() as i64);
    for revision in first..=head {
        assert_eq!(
            read(store, revision),
            states[revision as usize - 1],
            "at {revision}"
        );
    }
    let mut state = states[first as usize - 1].clone();
    let range = KeyRange::prefix("k");
    let page = store.changes(&range, Revision(first + 1), store.head(), usize::MAX);
    for batch in page.expect("the history is there").batches {
        for change in batch.changes {
            let old = change.old.map(|kv| kv.value);
            assert_eq!(
                state.get(&change.key),
                old.as_ref(),
                "what was before {}",
                change.revision
            );
            match change.new {
                Some(kv) => state.insert(change.key, kv.value),
                None => state.remove(&change.key),
            };
        }
        assert_eq!(
            state,
            states[batch.revision.0 as usize - 1],
            "after {}",
            batch.revision
        );
    }
    let size: usize = store
        .keys
        .iter()
        .flat_map(|(key, versions)| versions.iter().map(|it| super::size(key, it) as usize))
        .sum();
    assert_eq!(store.size(), size as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::new();
        let mut states: Vec<State> = vec![State::new()];
        for step in steps {
            let mut state = states.last().cloned().unwrap_or_default();
            let before = state.clone();
            let success = match step {
                Step::Put(number, value) => {
                    state.insert(key(number), vec![value].into());
                    vec![put(number, value)]
                }
                Step::Delete(from, to) => {
                    state.retain(|held, _| !(*held >= key(from) && *held < key(to)));
                    vec![Op::Delete(KeyRange { start: key(from), end: Some(key(to)) })]
                }
                Step::Both(number, deleted) if number != deleted => {
                    state.insert(key(number), "both".into());
                    state.remove(&key(deleted));
                    let value = "both".into();
                    let put = Op::Put { key: key(number), value, lease: LeaseId::default() };
                    vec![put, Op::Delete(KeyRange::key(key(deleted)))]
                }
                Step::Both(..) => continue,
                Step::Compact(percent) => {
                    let to = Revision(store.head().0 * i64::from(percent) / 100);
                    if store.compact(to, store.head()).is_ok() {
                        while store.scrub(1) {}
                    }
                    check(&store, &states);
                    continue;
                }
            };
            let wrote = store.apply(&Txn { success, ..Txn::default() }).expect("it is valid").record.is_some();
            prop_assert_eq!(wrote, state != before || matches!(step, Step::Put(..) | Step::Both(..)));
            if wrote {
                states.push(state);
            }
        }
        check(&store, &states);
    }
}
