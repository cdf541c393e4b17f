//! Leases, and the keys that go with them.

use super::subject::{Subject, put_leased};
use crate::{KvError, Revision};

pub(super) async fn a_lease_takes_its_keys_along(it: Subject) {
    let lease = it.kv.lease_grant(600).await.expect("a lease is granted");
    let other = it.kv.lease_grant(600).await.expect("another one");
    assert_ne!(lease, other);
    put_leased(&it, "a", lease).await.expect("a is put");
    put_leased(&it, "b", lease).await.expect("b is put");
    it.put("c", "free").await;
    assert_eq!(it.get("a").await.expect("a is there").lease, lease);
    assert_eq!(
        it.kv.lease_keep_alive(lease).await.expect("it is renewed"),
        600
    );
    let before = it.revision().await;
    let mut watch = it.watch(Some(Revision(before.0 + 1)), 16).await;
    it.kv.lease_revoke(lease).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["c"]);
    let gone = watch.reach(Revision(before.0 + 1)).await;
    assert_eq!(gone.len(), 2, "all keys go in one revision");
    assert!(gone.iter().all(|change| change.new.is_none()));
    assert_eq!(it.revision().await, Revision(before.0 + 1));
    let missing = |result: &KvError| matches!(result, KvError::LeaseNotFound(_));
    assert!(
        it.kv
            .lease_revoke(lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    assert!(
        it.kv
            .lease_keep_alive(lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    assert!(
        put_leased(&it, "d", lease)
            .await
            .is_err_and(|error| missing(&error))
    );
    it.kv
        .lease_revoke(other)
        .await
        .expect("a lease without keys is revoked");
    assert_eq!(
        it.revision().await,
        Revision(before.0 + 1),
        "which is no revision"
    );
}

pub(super) async fn a_lease_follows_its_key(it: Subject) {
    let first = it.kv.lease_grant(600).await.expect("a lease is granted");
    let second = it.kv.lease_grant(600).await.expect("another one");
    put_leased(&it, "moved", first).await.expect("it is put");
    put_leased(&it, "moved", second).await.expect("it is put");
    put_leased(&it, "freed", first).await.expect("it is put");
    it.put("freed", "free").await;
    it.kv.lease_revoke(first).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["freed", "moved"]);
    it.kv.lease_revoke(second).await.expect("it is revoked");
    assert_eq!(it.names(None).await, ["freed"]);
}

pub(super) async fn a_lease_expires(it: Subject) {
    let lease = it.kv.lease_grant(2).await.expect("a lease is granted");
    put_leased(&it, "a", lease).await.expect("it is put");
    let mut watch = it.watch(None, 16).await;
    let gone = watch.next().await;
    assert_eq!((it.name(&gone.key).as_str(), gone.new), ("a", None));
    assert_eq!(gone.old.expect("it was there").lease, lease);
    let late = it.kv.lease_keep_alive(lease).await;
    assert!(matches!(late, Err(KvError::LeaseNotFound(_))), "{late:?}");
}
