//! Cluster DNS: a chain of plugins, of which `kubernetes` and `forward` are two.
