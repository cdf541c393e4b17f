//! kubelet: pod workers, probes, volumes, QoS, eviction, status, its HTTPS server.
