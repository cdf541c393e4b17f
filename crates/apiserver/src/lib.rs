//! kube-apiserver: request pipeline, generic registry, watch cache, admission, authentication, authorization.
//!
//! A request's way: `listener` (or [`Server::call`]) → [`pipeline::Pipeline::serve`] → `router` → [`registry::Registry`] →
//! [`storage::ObjectStore::guaranteed_update`] for writes, [`cacher`] for everything that reads.

pub mod admission;
mod advertise;
mod aggregation;
pub mod allocators;
mod apiextensions;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod body;
pub mod bootstrap;
pub mod cacher;
mod compactor;
mod component_config;
pub mod config;
pub mod context;
mod debug_flags;
pub mod derived;
pub mod discovery;
pub mod encryption;
pub mod flow_control;
pub mod health;
pub mod lifecycle;
mod listener;
#[cfg(test)]
mod memory_reader;
pub mod metered_kv;
pub mod metrics;
pub mod negotiation;
pub mod openapi;
mod pace;
pub mod pipeline;
pub mod proxy;
pub mod query;
pub mod reader;
pub mod registry;
pub mod request_info;
mod router;
mod security;
mod server;
mod startup;
pub mod storage;
pub mod tokens;
pub mod traces;
mod unix_connector;
mod upgraded;
pub mod user;
pub mod virtual_resource;
mod warnings;
pub mod webhook_client;
mod zpages;

pub use apimachinery::lookup;
pub use body::Body;
pub use config::Config;
pub use server::{Dependencies, Error, Server, run};
