//! `/.well-known/openid-configuration` and `/openid/v1/jwks`: what another system needs to verify our tokens by itself (KEP-1393).

use apimachinery::status::Status;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use super::PublicKey;
use crate::negotiation::route_produces;

/// Path of the configuration document.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// Path of the key set.
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// Both documents, made once: they change only with the server's flags.
#[derive(Debug)]
pub struct OpenIdDiscovery {
    configuration: Bytes,
    keys: Bytes,
}

impl OpenIdDiscovery {
    /// Where its documents are.
    pub(crate) const PATHS: [&str; 2] = [CONFIGURATION_PATH, JWKS_PATH];

    /// For tokens of `issuer`. `jwks_uri` is where outsiders find the key set.
    pub fn new(issuer: &str, jwks_uri: &str, keys: &[PublicKey]) -> Self {
        let mut algorithms: Vec<&str> = keys.iter().map(|key| key.algorithm().name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let configuration = json!({
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        });
        let keys: Vec<_> = keys.iter().map(PublicKey::to_jwk).collect();
        Self {
            configuration: configuration.to_string().into(),
            keys: json!({ "keys": keys }).to_string().into(),
        }
    }

    /// The document at `path`, if it is one of the two.
    ///
    /// # Errors
    /// The client does not take its media type, or does not read.
    pub fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Bytes>, Status>> {
        let (body, media_type) = match path.trim_end_matches('/') {
            CONFIGURATION_PATH => (&self.configuration, "application/json"),
            JWKS_PATH => (&self.keys, "application/jwk-set+json"),
            _ => return None,
        };
        if *method != Method::GET {
            return Some(Err(Status::method_not_allowed()));
        }
        if let Err(status) = route_produces(headers, &[media_type]) {
            return Some(Err(status));
        }
        let mut response = Response::new(body.clone());
        *response.status_mut() = StatusCode::OK;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        );
        Some(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_are_read_and_nothing_else() {
        let discovery = OpenIdDiscovery::new("https://issuer", "https://issuer/keys", &[]);
        let headers = HeaderMap::new();
        for path in [CONFIGURATION_PATH, JWKS_PATH, "/openid/v1/jwks//"] {
            let ask = |method| discovery.respond(&method, path, &headers).unwrap();
            assert_eq!(ask(Method::GET).unwrap().status(), StatusCode::OK);
            assert_eq!(ask(Method::POST).unwrap_err().code, 405);
        }
        let elsewhere = discovery.respond(&Method::GET, "/openid/v1", &headers);
        assert!(elsewhere.is_none());
    }
}
