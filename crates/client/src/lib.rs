//! client-go: transports, typed kinds, shared informers, workqueue, leader election, events.

mod api;
mod backoff;
mod client;
mod config;
mod error;
mod https;
mod informer;
mod kind;
mod kubeconfig;
mod params;
mod partial;
mod reflector;
mod resource;
mod store;
mod tls;
mod transport;
mod watch;
mod workqueue;

pub use api::{Api, List, LogParams, Namespace};
pub use backoff::Backoff;
pub use client::{Client, JSON, Request};
pub use config::{Auth, Config, ConfigError, Pem, TlsConfig};
pub use error::{ApiError, BoxError, TransportError};
pub use https::Https;
pub use informer::{Event, Informer, InformerFactory, InformerScope, Subscription};
pub use kind::{Kind, Object, ObjectKey};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use params::{DeleteOptionsExt, ListParams, Patch, WatchParams};
pub use partial::PartialObjectMetadata;
pub use store::{IndexFn, Store};
pub use transport::{Body, Duplex, Transport, Upgraded};
pub use watch::{WatchEvent, WatchStream};
pub use workqueue::{RateLimits, Workqueue};
