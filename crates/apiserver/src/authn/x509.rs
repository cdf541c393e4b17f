//! Client certificates: the common name is the user, each organization a group (`--client-ca-file`).
//!
//! The chain, the validity and the client-auth usage are checked by webpki. A certificate of another authority, or an expired one, is a
//! bad credential (401), as upstream has it. The uid comes from the subject attribute 1.3.6.1.4.1.57683.2, and the credential
//! id goes into `extra`.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::{
    Clock,
    metrics::{HistogramSeries, Registry},
    tls::{ClientVerifier, TlsError, client_verifier},
};
use http::HeaderMap;
use ring::digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    Authenticated, AuthenticationError, Authenticator, Peer,
    cache::{self, Cache},
};
use crate::user::UserInfo;

/// Holds the uid in a certificate's subject (KEP-4317's arc of kubernetes.io).
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// How long a certificate that was found good is not verified again. Its authorities are asked anew when they change.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// Upstream's bounds for the time a certificate is still valid for: none, half an hour, hours, days, months.
const REMAINING_SECONDS: &[f64] = &[
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];

/// What a certificate that an authority has signed says of its holder.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The last common name.
    pub common_name: Option<String>,
    /// When it ends, in seconds of the epoch.
    not_after: i64,
    /// Whom it identifies, or why it cannot.
    user: Result<Option<UserInfo>, String>,
}

/// Verifies chains of client certificates against a bundle of authorities, which can be exchanged while serving.
pub struct ChainVerifier {
    verifier: ArcSwap<ClientVerifier>,
    verified: Cache<Arc<Holder>>,
    clock: Clock,
}

impl ChainVerifier {
    /// Trusts the certificates of `bundle` (PEM).
    pub fn new(bundle: &[u8], clock: Clock) -> Result<Self, TlsError> {
        Ok(Self {
            verifier: ArcSwap::new(client_verifier(bundle)?),
            verified: Cache::default(),
            clock,
        })
    }

    /// Trusts another bundle from now on.
    pub fn replace(&self, bundle: &[u8]) -> Result<(), TlsError> {
        self.verifier.store(client_verifier(bundle)?);
        self.verified.clear();
        Ok(())
    }

    /// Who holds the leaf; `None` without certificates.
    pub fn verify(&self, chain: &[Vec<u8>]) -> Result<Option<Arc<Holder>>, AuthenticationError> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Ok(None);
        };
        let now = self.clock.now();
        let key = cache::key(chain.iter().map(Vec::as_slice));
        if let Some(holder) = self.verified.get(&key, now) {
            return Ok(Some(holder));
        }
        let verifier = self.verifier.load_full();
        let leaf_der = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<_> = intermediates
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        verifier
            .verify(
                &leaf_der,
                &intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            )
            .map_err(|error| AuthenticationError(format!("x509: {error}")))?;
        let (_, certificate) = X509Certificate::from_der(leaf)
            .map_err(|error| AuthenticationError(format!("x509: {error}")))?;
        let holder = Arc::new(Holder {
            common_name: common_name(&certificate).map(str::to_owned),
            not_after: certificate.validity().not_after.timestamp(),
            user: subject_to_user(leaf, &certificate),
        });
        let left = holder.not_after - now.as_second();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        // Authorities that were exchanged meanwhile have not vouched for it.
        if Arc::ptr_eq(&verifier, &self.verifier.load_full()) {
            self.verified
                .put(key, Arc::clone(&holder), now, left.min(VERIFIED_FOR));
        }
        Ok(Some(holder))
    }
}

/// Authenticates by client certificate.
pub struct ClientCertificates {
    verifier: Arc<ChainVerifier>,
    remaining: HistogramSeries,
}

impl ClientCertificates {
    /// Those that `verifier` trusts. How long they are still valid is counted in `metrics`.
    pub fn new(verifier: Arc<ChainVerifier>, metrics: &Registry) -> Self {
        let remaining = metrics.histogram(
            "apiserver_client_certificate_expiration_seconds",
            "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.",
            &[],
            REMAINING_SECONDS,
        );
        Self {
            verifier,
            remaining: remaining.series(&[]),
        }
    }
}

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(
        &self,
        _headers: &HeaderMap,
        peer: &Peer,
        _path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some(holder) = self.verifier.verify(&peer.certificates)? else {
            return Ok(None);
        };
        let left = holder.not_after - self.verifier.clock.now().as_second();
        self.remaining.observe(left as f64);
        let user = holder.user.clone().map_err(AuthenticationError)?;
        Ok(user.map(|user| Authenticated {
            user,
            ..Authenticated::default()
        }))
    }
}

/// The last common name wins, as in Go's pkix.Name.
fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate
        .subject()
        .iter_common_name()
        .filter_map(|value| value.as_str().ok())
        .last()
}

/// A certificate without a common name identifies nobody.
fn subject_to_user(
    leaf: &[u8],
    certificate: &X509Certificate<'_>,
) -> Result<Option<UserInfo>, String> {
    let subject = certificate.subject();
    let Some(name) = common_name(certificate).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let uids: Vec<&str> = subject
        .iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == UID_OID)
        .filter_map(|attribute| attribute.as_str().ok())
        .collect();
    let uid = match uids.as_slice() {
        [] => String::new(),
        [uid] if !uid.is_empty() => (*uid).to_owned(),
        _ => {
            return Err("x509: expected one non-empty uid in the subject".to_owned());
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
