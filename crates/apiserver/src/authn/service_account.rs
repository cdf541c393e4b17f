//! Service account tokens: bound ones (TokenRequest) and those kept in secrets.
//!
//! A token is good as long as everything it is bound to lives: the service account, and the pod, secret or node it names, each by
//! uid. Absence is checked against the store, not the cache alone, because a token may be used the moment after its objects were made.
//! Whose issuer is not ours is not our token, and the next authenticator is asked.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, meta, quote_list};
use async_trait::async_trait;
use base::Clock;
use jiff::Timestamp;

use super::{
    Authenticated, AuthenticationError, ServiceAccountMetrics, TokenAuthenticator,
    cache::{self, Cache},
};
use crate::{
    lookup,
    reader::{ObjectReader, ObjectWriter},
    tokens::{
        Jwt, PublicKey,
        claims::{Claims, LEGACY_ISSUER, LegacyClaims, Reference},
    },
    user::UserInfo,
};

const SERVICE_ACCOUNTS: GroupResource = GroupResource::new("", "serviceaccounts");
const SECRETS: GroupResource = GroupResource::new("", "secrets");
const PODS: GroupResource = GroupResource::new("", "pods");
const NODES: GroupResource = GroupResource::new("", "nodes");

/// How long past its deletion timestamp an object still counts as there, so that a pod can use its token while it ends.
const DELETION_LEEWAY: Duration = Duration::from_secs(60);

/// What every service account's user name begins with.
pub const USERNAME_PREFIX: &str = "system:serviceaccount:";

/// Verifies tokens that this cluster's keys have signed.
pub struct ServiceAccountTokens {
    /// Accepted issuers; the first is the one that tokens are issued with.
    pub issuers: Vec<String>,
    /// Keys that may have signed.
    pub keys: Vec<PublicKey>,
    /// `--api-audiences`: for whom a token must be.
    pub audiences: Vec<String>,
    /// Where the bound objects are.
    pub reader: Arc<dyn ObjectReader>,
    /// Notes when a token of the older form was last used; not at all if there is none.
    pub writer: Option<Arc<dyn ObjectWriter>>,
    /// For expiry.
    pub clock: Clock,
    /// What is counted of tokens.
    pub metrics: ServiceAccountMetrics,
    /// Claims of tokens whose signature has been verified. What they are bound to is looked at each time.
    pub verified: VerifiedTokens,
}

/// Remembers signatures that were found good.
#[derive(Debug, Default)]
pub struct VerifiedTokens(Cache<Arc<Claims>>);

/// How long a signature is not verified again.
const VERIFIED_FOR: Duration = Duration::from_secs(300);
/// By how much a token's times may be off.
const CLOCK_LEEWAY_SECONDS: i64 = 60;
/// Says on which day a token of the older form was last used; the legacy token cleaner reads it.
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// Says that nobody has used it for so long that nobody may.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// What who uses a token that a controller has made is told.
const AUTOMATIC: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";

#[async_trait]
impl TokenAuthenticator for ServiceAccountTokens {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        self.authenticate_for(token, &self.audiences).await
    }
}

impl ServiceAccountTokens {
    /// Like `authenticate_token`, but for other audiences than the API's own (TokenReview names them).
    pub async fn authenticate_for(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some(jwt) = Jwt::parse(token) else {
            return Ok(None);
        };
        let Some(unverified) = jwt.unverified_claims::<LegacyClaims>() else {
            return Ok(None);
        };
        if unverified.issuer == LEGACY_ISSUER {
            let claims = jwt
                .verify(&self.keys)
                .ok_or_else(|| self.unverifiable(&jwt))?;
            // Such a token names no audience: it is good for the API alone.
            let audiences = intersection(&self.audiences, audiences)?;
            let found = self.check_legacy(token, &claims).await?;
            self.metrics.legacy.increment();
            return Ok(Some(Authenticated { audiences, ..found }));
        }
        if !self.issuers.contains(&unverified.issuer) {
            return Ok(None);
        }
        let claims = self.verified_claims(token, &jwt)?;
        // A token that names no audience is good for the API alone.
        let named = match claims.audiences.as_slice() {
            [] => &self.audiences,
            named => named,
        };
        let audiences = intersection(named, audiences)?;
        let user = self.check_bound(&claims).await?;
        Ok(Some(Authenticated {
            user,
            audiences,
            annotations: self.staleness(&claims).into_iter().collect(),
            ..Authenticated::default()
        }))
    }

    /// Tokens of pods are good for longer than they say to those who do not exchange them in time; who is late is made known.
    fn staleness(&self, claims: &Claims) -> Option<(&'static str, String)> {
        let late = self.clock.now().as_second() - claims.kubernetes.warn_after?;
        if late <= 0 {
            self.metrics.valid.increment();
            return None;
        }
        self.metrics.stale.increment();
        let subject = &claims.subject;
        let told = format!("subject: {subject}, seconds after warning threshold: {late}");
        Some(("authentication.k8s.io/stale-token", told))
    }

    fn verified_claims(
        &self,
        token: &str,
        jwt: &Jwt<'_>,
    ) -> Result<Arc<Claims>, AuthenticationError> {
        let key = cache::key([token.as_bytes()]);
        let now = self.clock.now();
        if let Some(claims) = self.verified.0.get(&key, now) {
            return Ok(claims);
        }
        let claims: Claims = jwt
            .verify(&self.keys)
            .ok_or_else(|| self.unverifiable(jwt))?;
        let claims = Arc::new(claims);
        self.verified
            .0
            .put(key, Arc::clone(&claims), now, VERIFIED_FOR);
        Ok(claims)
    }

    /// Once a day. That it fails is no reason to refuse the token.
    async fn note_use(&self, secret: &Object) {
        let today = self.clock.now().strftime("%Y-%m-%d").to_string();
        let Some(writer) = &self.writer else {
            return;
        };
        if meta::label(secret, LAST_USED) == Some(today.as_str()) {
            return;
        }
        let mut noted = secret.clone();
        meta::set_label(&mut noted, LAST_USED, Some(&today));
        let (namespace, name) = (meta::namespace(secret), meta::name(secret));
        if let Err(status) = writer.update(&SECRETS, namespace, noted).await {
            let error = status.message;
            tracing::debug!(namespace, name, error, "the use of a token was not noted");
        }
    }

    async fn check_bound(&self, claims: &Claims) -> Result<UserInfo, AuthenticationError> {
        // The clocks of those who issue and those who verify may differ.
        let now = self.clock.now().as_second();
        if claims
            .not_before
            .is_some_and(|start| now + CLOCK_LEEWAY_SECONDS < start)
        {
            return Err(refused("service account token is not valid yet"));
        }
        if claims
            .expires
            .is_some_and(|expires| now - CLOCK_LEEWAY_SECONDS > expires)
        {
            return Err(refused("service account token has expired"));
        }
        if claims
            .issued_at
            .is_some_and(|issued| now + CLOCK_LEEWAY_SECONDS < issued)
        {
            return Err(refused("service account token is issued in the future"));
        }
        let bound = &claims.kubernetes;
        let namespace = &bound.namespace;
        let name = &bound.service_account.name;
        if claims.subject != username(namespace, name) {
            return Err(refused(
                "the token's subject is not the service account it names",
            ));
        }
        self.check_alive(&Bound::ACCOUNT, namespace, &bound.service_account)
            .await?;
        if let Some(secret) = &bound.secret {
            self.check_alive(&Bound::SECRET, namespace, secret).await?;
        }
        let mut user = user_info(namespace, name, &bound.service_account.uid);
        if let Some(pod) = &bound.pod {
            self.check_alive(&Bound::POD, namespace, pod).await?;
            user.extra.insert(
                "authentication.kubernetes.io/pod-name".to_owned(),
                vec![pod.name.clone()],
            );
            user.extra.insert(
                "authentication.kubernetes.io/pod-uid".to_owned(),
                vec![pod.uid.clone()],
            );
        }
        if let Some(node) = &bound.node {
            // A pod's token says on which node the pod was; the pod's life is what bounds it.
            if bound.pod.is_none() {
                self.check_alive(&Bound::NODE, "", node).await?;
            }
            user.extra.insert(
                "authentication.kubernetes.io/node-name".to_owned(),
                vec![node.name.clone()],
            );
            if !node.uid.is_empty() {
                user.extra.insert(
                    "authentication.kubernetes.io/node-uid".to_owned(),
                    vec![node.uid.clone()],
                );
            }
        }
        if !claims.id.is_empty() {
            let id = format!("JTI={}", claims.id);
            user.extra.insert(
                "authentication.kubernetes.io/credential-id".to_owned(),
                vec![id],
            );
        }
        Ok(user)
    }

    async fn check_legacy(
        &self,
        token: &str,
        claims: &LegacyClaims,
    ) -> Result<Authenticated, AuthenticationError> {
        let LegacyClaims {
            namespace,
            service_account: name,
            service_account_uid: uid,
            ..
        } = claims;
        for (claim, value) in [
            ("sub", &claims.subject),
            ("namespace", namespace),
            ("secretName", &claims.secret),
            ("serviceAccountName", name),
            ("serviceAccountUID", uid),
        ] {
            if value.is_empty() {
                return Err(refused(&format!("{claim} claim is missing")));
            }
        }
        if claims.subject != username(namespace, name) {
            return Err(refused("sub claim is invalid"));
        }
        let secret = self.find(&SECRETS, namespace, &claims.secret).await;
        let secret = secret.ok_or_else(|| refused("Token has been invalidated"))?;
        let kept = lookup::text(&secret, &["data", "token"]);
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        if BASE64_STANDARD.decode(kept).ok().as_deref() != Some(token.as_bytes()) {
            return Err(refused("Token does not match server's copy"));
        }
        let account = Reference {
            name: name.clone(),
            uid: uid.clone(),
        };
        let account = self
            .check_alive(&Bound::OLD_ACCOUNT, namespace, &account)
            .await?;
        self.note_use(&secret).await;
        if meta::label(&secret, INVALID_SINCE).is_some_and(|since| !since.is_empty()) {
            self.metrics.invalidated.increment();
            let secret = &claims.secret;
            return Err(refused(&format!(
                "the token in secret {namespace}/{secret} for service account {namespace}/{name} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )));
        }
        let automatic = lookup::objects(&account, &["secrets"])
            .any(|reference| lookup::text(reference, &["name"]) == claims.secret);
        let (count, annotation, warnings) = if automatic {
            let annotation = "authentication.k8s.io/legacy-token-autogenerated-secret";
            (&self.metrics.automatic, annotation, vec![AUTOMATIC])
        } else {
            let annotation = "authentication.k8s.io/legacy-token-manual-secret";
            (&self.metrics.manual, annotation, Vec::new())
        };
        count.increment();
        Ok(Authenticated {
            user: user_info(namespace, name, uid),
            annotations: vec![(annotation, claims.secret.clone())],
            warnings,
            ..Authenticated::default()
        })
    }

    async fn check_alive(
        &self,
        sort: &Bound,
        namespace: &str,
        reference: &Reference,
    ) -> Result<Arc<Object>, AuthenticationError> {
        let Bound {
            resource,
            noun,
            claim,
        } = sort;
        let Some(object) = self.find(resource, namespace, &reference.name).await else {
            return Err(match claim {
                Some(_) => invalidated(),
                None => refused(&format!(
                    "{} {:?} not found",
                    resource.resource, reference.name
                )),
            });
        };
        let uid = meta::uid(&object);
        if uid != reference.uid {
            let claim = claim.map(|claim| format!("service account {claim} ref claim"));
            let claim = claim.unwrap_or_else(|| "claim".to_owned());
            return Err(refused(&format!(
                "{noun} UID ({uid}) does not match {claim} ({})",
                reference.uid
            )));
        }
        let deleted =
            lookup::text(&object, &["metadata", "deletionTimestamp"]).parse::<Timestamp>();
        if deleted.is_ok_and(|deleted| deleted + DELETION_LEEWAY < self.clock.now()) {
            return Err(match claim {
                Some(_) => invalidated(),
                None => refused(&format!(
                    "{noun} {namespace}/{} has been deleted",
                    reference.name
                )),
            });
        }
        Ok(object)
    }

    /// Why none of the keys has signed a token, in the words that upstream's answers to token reviews have.
    fn unverifiable(&self, jwt: &Jwt<'_>) -> AuthenticationError {
        let is_unknown = |id: &str| self.keys.iter().all(|key| key.id() != id);
        refused(match jwt.key_id() {
            "" => "go-jose/go-jose: error in cryptographic primitive",
            id if is_unknown(id) => "invalid signature, no keys found",
            _ => "go-jose/go-jose: error in cryptographic primitive",
        })
    }

    async fn find(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        match self.reader.get(resource, namespace, name) {
            Some(object) => Some(object),
            None => {
                let fresh = self.reader.get_fresh(resource, namespace, name).await;
                // Nobody is who a store that is away does not know, as upstream.
                fresh.unwrap_or_else(|status| {
                    tracing::warn!(%status, %resource, namespace, name, "what a token is bound to cannot be read");
                    None
                })
            }
        }
    }
}

/// `system:serviceaccount:<namespace>:<name>`.
pub fn username(namespace: &str, name: &str) -> String {
    format!("{USERNAME_PREFIX}{namespace}:{name}")
}

/// Namespace and name of a service account's user name.
pub fn split_username(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(USERNAME_PREFIX)?.split_once(':')?;
    let is_account = api::names::dns1123_label(namespace).is_empty()
        && api::names::dns1123_subdomain(name).is_empty();
    is_account.then_some((namespace, name))
}

/// The groups of the service accounts of `namespace`.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

fn user_info(namespace: &str, name: &str, uid: &str) -> UserInfo {
    UserInfo {
        name: username(namespace, name),
        uid: uid.to_owned(),
        groups: groups(namespace),
        ..UserInfo::default()
    }
}

fn intersection(token: &[String], wanted: &[String]) -> Result<Vec<String>, AuthenticationError> {
    let both: Vec<String> = token
        .iter()
        .filter(|audience| wanted.contains(audience))
        .cloned()
        .collect();
    if both.is_empty() {
        let (token, wanted) = (quote_list(token), quote_list(wanted));
        return Err(refused(&format!(
            "token audiences {token} is invalid for the target audiences {wanted}"
        )));
    }
    Ok(both)
}

/// What a token may be bound to.
struct Bound {
    resource: GroupResource,
    /// As messages name it.
    noun: &'static str,
    /// As its claim is called; none of the account itself.
    claim: Option<&'static str>,
}

impl Bound {
    const ACCOUNT: Self = Self::of(SERVICE_ACCOUNTS, "service account", None);
    /// As the tokens of old name it.
    const OLD_ACCOUNT: Self = Self::of(SERVICE_ACCOUNTS, "ServiceAccount", None);
    const SECRET: Self = Self::of(SECRETS, "secret", Some("secret"));
    const POD: Self = Self::of(PODS, "pod", Some("pod"));
    const NODE: Self = Self::of(NODES, "node", Some("node"));

    const fn of(resource: GroupResource, noun: &'static str, claim: Option<&'static str>) -> Self {
        Self {
            resource,
            noun,
            claim,
        }
    }
}

/// What it was bound to is gone.
fn invalidated() -> AuthenticationError {
    refused("service account token has been invalidated")
}

fn refused(why: &str) -> AuthenticationError {
    AuthenticationError(why.to_owned())
}
