//! kube-apiserver: request pipeline, generic registry, watch cache, admission, authentication, authorization.
