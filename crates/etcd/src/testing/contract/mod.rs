//! The contract of [`Kv`], as tests. Every case works under a prefix of its own and relative to the current revision, so that the
//! suite can run on a store that is in use; one case compacts.

mod leases;
mod reads;
mod subject;
mod transactions;
mod watches;

use std::{future::Future, pin::Pin, sync::Arc};

use self::subject::{PATIENCE, Subject};
use crate::Kv;

type Case = fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($subject:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |subject| Box::pin($subject::$name(subject)))),*]
    };
}

const CASES: &[(&str, Case)] = cases![
    transactions::a_put_counts_versions,
    transactions::only_writes_take_revisions,
    transactions::compares_hold_as_in_etcd,
    transactions::a_failed_compare_answers_what_is_there,
    transactions::a_transaction_is_one_revision,
    transactions::a_key_is_written_once,
    transactions::empty_keys_are_refused,
    transactions::deletions_answer_what_was_there,
    reads::ranges_are_cut_and_counted,
    reads::the_past_can_be_read,
    transactions::large_requests_are_refused,
    transactions::counting_together_loses_nothing,
    leases::a_lease_takes_its_keys_along,
    leases::a_lease_follows_its_key,
    leases::a_lease_expires,
    watches::a_watch_delivers_what_comes,
    watches::a_live_watch_shares_values_where_it_says_so,
    watches::a_watch_delivers_whole_revisions,
    watches::a_watch_starts_in_the_past,
    watches::a_watch_starts_in_the_future,
    watches::a_slow_watcher_loses_nothing,
    watches::a_quiet_watch_makes_progress,
    reads::compaction_forgets,
];

/// Runs every case, one after another.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn suite(kv: Arc<dyn Kv>) {
    for (name, case) in CASES {
        // Seen only if the test fails.
        println!("contract: {name}");
        let run = case(Subject {
            kv: kv.clone(),
            prefix: format!("/contract/{name}/"),
        });
        tokio::time::timeout(3 * PATIENCE, run)
            .await
            .unwrap_or_else(|_| panic!("{name} takes too long"));
    }
}
