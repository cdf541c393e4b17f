//! kube-scheduler: queue, snapshot, framework, plugins.
