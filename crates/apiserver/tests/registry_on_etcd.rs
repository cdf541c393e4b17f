//! What `registry` tests, on a real etcd: the same server, stateless over it. With an etcd that gives no progress notices, too.

#[path = "registry.rs"]
mod cases;
