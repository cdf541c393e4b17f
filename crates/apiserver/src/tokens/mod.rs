//! Service account tokens: the keys, their form, issuing them, and telling others how to verify them (OpenID discovery).
//!
//! Verifying on behalf of a request is [`crate::authn::ServiceAccountTokens`].

pub mod claims;
mod issuer;
pub mod jwk;
mod jwt;
mod key;
pub mod openid;
mod p521;
mod token_request;

pub use issuer::Issuer;
pub use jwt::{Jwt, sign};
pub use key::{Algorithm, KeyError, PrivateKey, PublicKey, private_key, public_keys};
pub use openid::OpenIdDiscovery;
pub use token_request::TokenRequest;
