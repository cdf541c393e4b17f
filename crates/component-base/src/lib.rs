//! What every component serves of itself: health, metrics, its configuration; over TLS to those whom the API server knows and lets in, or in
//! plain HTTP to whoever reaches the address.
//!
//! A request's way: [`Listener`] → [`Authentication`] (front proxy, client certificate, token by TokenReview) → [`Authorization`]
//! (SubjectAccessReview) → the handler: [`Server`]'s pages, or those of a component that has more to say, the kubelet.

mod answer;
mod authentication;
mod authorization;
mod cluster_authentication;
mod expiring_cache;
mod front_proxy;
mod guard;
mod health;
mod listener;
mod review;
mod server;
mod zpages;

pub use answer::{Body, BodyError, full, ok, text};
pub use authentication::{Authentication, Unauthorized, User};
pub use authorization::{Access, Authorization, Decision};
pub use cluster_authentication::{Missing, follow_cluster_authentication};
pub use front_proxy::{FrontProxy, FrontProxyHeaders};
pub use guard::{Guard, PathPatternError, PathPatterns};
pub use health::{Check, Checks};
pub use listener::{Handler, ListenError, Listener, Peer};
pub use review::ReviewError;
pub use server::{Page, Server};
pub use zpages::Identity;
