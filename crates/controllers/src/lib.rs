//! kube-controller-manager: one file per controller, one table of them.
