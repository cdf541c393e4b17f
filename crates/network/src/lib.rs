//! The pod network: links, IPAM, masquerade, host ports.
