//! Multiplexed streams over upgraded HTTP connections: WebSocket (v5.channel.k8s.io) and SPDY/3.1.
