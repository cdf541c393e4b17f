//! Client certificates: the common name is the user, each organization a group (`--client-ca-file`).
//!
//! The chain, the validity and the client-auth usage are checked by webpki. A certificate of another authority, or an expired one, is a
//! bad credential (401), as upstream has it. The uid comes from the subject attribute 1.3.6.1.4.1.57683.2, and the credential
//! id goes into `extra`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::{
    Clock,
    tls::{TlsError, client_verifier},
};
use http::HeaderMap;
use ring::digest;
use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authenticated, AuthenticationError, Authenticator, Peer};
use crate::user::UserInfo;

/// Holds the uid in a certificate's subject (KEP-4317's arc of kubernetes.io).
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// Verifies client certificates against a bundle of authorities, which can be exchanged while serving.
pub struct ClientCertificates {
    verifier: ArcSwap<Arc<dyn ClientCertVerifier>>,
    clock: Clock,
}

impl ClientCertificates {
    /// Trusts the certificates of `bundle` (PEM).
    pub fn new(bundle: &[u8], clock: Clock) -> Result<Self, TlsError> {
        let verifier = Arc::new(client_verifier(bundle)?);
        Ok(Self {
            verifier: ArcSwap::new(verifier),
            clock,
        })
    }

    /// Trusts another bundle from now on.
    pub fn replace(&self, bundle: &[u8]) -> Result<(), TlsError> {
        self.verifier.store(Arc::new(client_verifier(bundle)?));
        Ok(())
    }

    fn verify(&self, chain: &[Vec<u8>]) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Ok(None);
        };
        let verifier = self.verifier.load();
        let leaf_der = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<_> = intermediates
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let seconds = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        verifier
            .verify_client_cert(&leaf_der, &intermediates, now)
            .map_err(|error| AuthenticationError(format!("x509: {error}")))?;
        subject_to_user(leaf).map(|user| {
            user.map(|user| Authenticated {
                user,
                audiences: Vec::new(),
            })
        })
    }
}

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        self.verify(&peer.certificates)
    }
}

/// A certificate without a common name identifies nobody.
fn subject_to_user(leaf: &[u8]) -> Result<Option<UserInfo>, AuthenticationError> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| AuthenticationError(format!("x509: {error}")))?;
    let subject = certificate.subject();
    // The last common name wins, as in Go's pkix.Name.
    let Some(name) = subject
        .iter_common_name()
        .filter_map(|value| value.as_str().ok())
        .last()
    else {
        return Ok(None);
    };
    if name.is_empty() {
        return Ok(None);
    }
    let uids: Vec<&str> = subject
        .iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == UID_OID)
        .filter_map(|attribute| attribute.as_str().ok())
        .collect();
    let uid = match uids.as_slice() {
        [] => String::new(),
        [uid] if !uid.is_empty() => (*uid).to_owned(),
        _ => {
            return Err(AuthenticationError(
                "x509: expected one non-empty uid in the subject".to_owned(),
            ));
        }
    };
    let groups = subject
        .iter_organization()
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect();
    let fingerprint = digest::digest(&digest::SHA256, leaf);
    let credential = format!("X509SHA256={}", hex(fingerprint.as_ref()));
    let extra = [(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![credential],
    )]
    .into();
    Ok(Some(UserInfo {
        name: name.to_owned(),
        uid,
        groups,
        extra,
    }))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}
