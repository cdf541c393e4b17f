//! kube-proxy: Services and EndpointSlices rendered to nftables, as diffs.
