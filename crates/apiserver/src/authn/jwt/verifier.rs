//! What a token of an issuer must show before anything in it is believed: for whom it is, that it is good now, and whose it is.

use apimachinery::Object;

use super::{claims, config::JwtIssuer, key_set::KeySet};
use crate::tokens::{Jwt, jwk};

/// How far an issuer's clock may be ahead of ours where a token says from when it is good, as upstream.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 300;

/// The rules, without the keys: those of a distributed claim's issuer are others.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    audiences: Vec<String>,
    algorithms: Vec<String>,
}

impl Verifier {
    /// As configured. The error names what cannot be.
    pub(super) fn new(config: &JwtIssuer) -> Result<Self, String> {
        let algorithms = config.signing_algorithms.clone();
        let unknown = |algorithm: &&String| !jwk::ALGORITHMS.contains(&algorithm.as_str());
        if let Some(algorithm) = algorithms.iter().find(unknown) {
            return Err(format!("oidc: unsupported signing alg: {algorithm:?}"));
        }
        Ok(Self {
            audiences: config.issuer.audiences.clone(),
            algorithms,
        })
    }

    /// When the token ends, in seconds of the epoch, if all of it is in order at `now`.
    pub(super) async fn verify(
        &self,
        token: &Jwt<'_>,
        claims: &Object,
        keys: &KeySet,
        now: i64,
    ) -> Result<i64, String> {
        let expires = self.check_claims(claims, now)?;
        let (algorithms, algorithm) = (&self.algorithms, token.algorithm());
        if !algorithms.is_empty() && !algorithms.iter().any(|one| one == algorithm) {
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected {algorithms:?} got {algorithm:?}"
            ));
        }
        keys.verify(token).await?;
        Ok(expires)
    }

    fn check_claims(&self, claims: &Object, now: i64) -> Result<i64, String> {
        let audiences = claims::texts(claims.get("aud")).unwrap_or_default();
        let wanted = &self.audiences;
        if !audiences.iter().any(|audience| wanted.contains(audience)) {
            return Err(format!(
                "oidc: expected audience in {wanted:?} got {audiences:?}"
            ));
        }
        // Some issuers write times with fractions.
        let time = |name: &str| {
            let value = claims.get(name)?;
            value
                .as_i64()
                .or_else(|| value.as_f64().map(|seconds| seconds as i64))
        };
        let expires = time("exp").unwrap_or_default();
        if now > expires {
            return Err(format!("oidc: token is expired (Token Expiry: {expires})"));
        }
        if let Some(start) = time("nbf")
            && now + NOT_BEFORE_LEEWAY_SECONDS < start
        {
            return Err(format!(
                "oidc: current time {now} before the nbf (not before) time: {start}"
            ));
        }
        Ok(expires)
    }
}
