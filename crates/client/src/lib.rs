//! client-go: transports, typed kinds, shared informers, workqueue, leader election, events.
