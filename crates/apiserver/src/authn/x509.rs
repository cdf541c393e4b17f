//! Client certificates: the common name is the user, each organization a group (`--client-ca-file`).
//!
//! The chain, the validity and the client-auth usage are checked by webpki. A certificate of another authority, or an expired one, is a
//! bad credential (401), as upstream has it. The uid comes from the subject attribute 1.3.6.1.4.1.57683.2, and the credential
//! id goes into `extra`.
//!
//! A chain that was found good stays good until one of its certificates ends or the authorities change: it is verified once, not at
//! each request of its connections.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

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

/// Chains that are remembered; when there are more, all are forgotten.
const MAX_VERIFIED: usize = 4096;

/// Verifies client certificates against a bundle of authorities, which can be exchanged while serving.
pub struct ClientCertificates {
    trust: ArcSwap<Trust>,
    clock: Clock,
}

/// A bundle of authorities, and the chains that have been verified against it.
struct Trust {
    verifier: Arc<dyn ClientCertVerifier>,
    verified: Mutex<HashMap<Arc<[Vec<u8>]>, Verified>>,
}

/// Whom a good chain names, and when it is good: from one second of the epoch to before another.
#[derive(Clone)]
struct Verified {
    user: Option<UserInfo>,
    valid: Range<i64>,
}

impl ClientCertificates {
    /// Trusts the certificates of `bundle` (PEM).
    pub fn new(bundle: &[u8], clock: Clock) -> Result<Self, TlsError> {
        Ok(Self {
            trust: ArcSwap::from_pointee(Trust::new(bundle)?),
            clock,
        })
    }

    /// Trusts another bundle from now on.
    pub fn replace(&self, bundle: &[u8]) -> Result<(), TlsError> {
        self.trust.store(Arc::new(Trust::new(bundle)?));
        Ok(())
    }

    fn verify(&self, chain: &Arc<[Vec<u8>]>) -> Result<Option<Authenticated>, AuthenticationError> {
        if chain.is_empty() {
            return Ok(None);
        }
        let user = self
            .trust
            .load()
            .user(chain, self.clock.now().as_second())?;
        Ok(user.map(|user| Authenticated {
            user,
            audiences: Vec::new(),
        }))
    }
}

impl Trust {
    fn new(bundle: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            verifier: client_verifier(bundle)?,
            verified: Mutex::default(),
        })
    }

    fn user(
        &self,
        chain: &Arc<[Vec<u8>]>,
        now: i64,
    ) -> Result<Option<UserInfo>, AuthenticationError> {
        let known = self.lock().get(chain).cloned();
        if let Some(known) = known.filter(|known| known.valid.contains(&now)) {
            return Ok(known.user);
        }
        let verified = self.verify(chain, now)?;
        let user = verified.user.clone();
        let mut all = self.lock();
        if all.len() >= MAX_VERIFIED {
            all.clear();
        }
        all.insert(Arc::clone(chain), verified);
        Ok(user)
    }

    fn verify(&self, chain: &[Vec<u8>], now: i64) -> Result<Verified, AuthenticationError> {
        let refused = |error: String| AuthenticationError(format!("x509: {error}"));
        let chain: Vec<CertificateDer<'_>> = chain
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(refused("there is no certificate".to_owned()));
        };
        let seconds = u64::try_from(now).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.verifier
            .verify_client_cert(leaf, intermediates, time)
            .map_err(|error| refused(error.to_string()))?;
        let mut valid = i64::MIN..i64::MAX;
        for certificate in &chain {
            let (_, certificate) = X509Certificate::from_der(certificate)
                .map_err(|error| refused(error.to_string()))?;
            let validity = certificate.validity();
            valid.start = valid.start.max(validity.not_before.timestamp());
            valid.end = valid.end.min(validity.not_after.timestamp());
        }
        Ok(Verified {
            user: subject_to_user(leaf)?,
            valid,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<[Vec<u8>]>, Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
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
