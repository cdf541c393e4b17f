//! kube-apiserver: request pipeline, generic registry, watch cache, admission, authentication, authorization.

pub mod admission;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod derived;
pub mod health;
pub mod lookup;
pub mod query;
pub mod reader;
pub mod request_info;
pub mod tokens;
pub mod user;
pub mod virtual_resource;
