//! The container runtime: images, snapshots, sandboxes, containers, the shim.
