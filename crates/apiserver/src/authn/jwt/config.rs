//! `--authentication-config`: an `AuthenticationConfiguration` (KEP-3331), and the same said by the `--oidc-*` flags.
//!
//! Read strictly: an unknown field is an error, as a misspelt rule that lets everybody in would be worse than a server that does not
//! start. The rules are upstream's `ValidateAuthenticationConfiguration`.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde::Deserialize;

use crate::component_config;

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationConfiguration {
    /// `apiserver.config.k8s.io/v1` (or v1beta1, v1alpha1).
    api_version: String,
    kind: String,
    /// Issuers whose tokens are believed.
    #[serde(default)]
    pub jwt: Vec<JwtIssuer>,
    /// In place of `--anonymous-auth`.
    #[serde(default)]
    pub anonymous: Option<AnonymousConfig>,
}

/// Who may ask without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousConfig {
    /// Anybody at all?
    pub enabled: bool,
    /// Only for these; none means for everything.
    #[serde(default)]
    pub conditions: Vec<AnonymousCondition>,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousCondition {
    /// Exactly this one.
    pub path: String,
}

/// One issuer, and what its tokens' claims mean here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtIssuer {
    /// Who.
    pub issuer: Issuer,
    /// What must be so of the claims.
    #[serde(default)]
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// Whom they name.
    pub claim_mappings: ClaimMappings,
    /// What must be so of the user.
    #[serde(default)]
    pub user_validation_rules: Vec<UserValidationRule>,
    /// `--oidc-signing-algs`; any that we know if empty.
    #[serde(skip)]
    pub signing_algorithms: Vec<String>,
}

/// Who issues, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// What tokens call it.
    pub url: String,
    /// Where its configuration is, if not below that.
    #[serde(default, rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// Who vouches for its server; PEM.
    #[serde(default)]
    pub certificate_authority: String,
    /// For whom tokens must be: one of these.
    pub audiences: Vec<String>,
    /// `MatchAny` where there are several audiences.
    #[serde(default)]
    pub audience_match_policy: String,
    /// Which way out is taken; there is one.
    #[serde(default)]
    pub egress_selector_type: String,
}

/// A rule over claims: a claim's value, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimValidationRule {
    /// A claim that must be there.
    #[serde(default)]
    pub claim: String,
    /// With this value.
    #[serde(default)]
    pub required_value: String,
    /// CEL over `claims`, which must be true.
    #[serde(default)]
    pub expression: String,
    /// Said when it is not.
    #[serde(default)]
    pub message: String,
}

/// A rule over the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserValidationRule {
    /// CEL over `user`, which must be true.
    pub expression: String,
    /// Said when it is not.
    #[serde(default)]
    pub message: String,
}

/// From claims to a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMappings {
    /// The name.
    pub username: PrefixedClaim,
    /// The groups.
    #[serde(default)]
    pub groups: PrefixedClaim,
    /// The uid.
    #[serde(default)]
    pub uid: ClaimOrExpression,
    /// Whatever else.
    #[serde(default)]
    pub extra: Vec<ExtraMapping>,
}

/// A claim with a prefix before its values, or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixedClaim {
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// Before each value; must be said, if only to be empty.
    #[serde(default)]
    pub prefix: Option<String>,
    /// CEL over `claims`.
    #[serde(default)]
    pub expression: String,
}

/// A claim or an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimOrExpression {
    /// The claim.
    #[serde(default)]
    pub claim: String,
    /// CEL over `claims`.
    #[serde(default)]
    pub expression: String,
}

/// One key of `extra`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraMapping {
    /// Domain-prefixed, in lower case.
    pub key: String,
    /// CEL over `claims`: a text, or a list of texts.
    pub value_expression: String,
}

/// At most so many issuers, as upstream.
const MAX_ISSUERS: usize = 64;

impl AuthenticationConfiguration {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        component_config::parse(text, "AuthenticationConfiguration")
    }

    /// All complaints. `own_issuers` issue service account tokens here and cannot be anybody else.
    pub fn validate(&self, own_issuers: &[String]) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = Path::new("jwt");
        if self.jwt.len() > MAX_ISSUERS {
            errors.push(FieldError::too_many(&root, self.jwt.len(), MAX_ISSUERS));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (index, issuer) in self.jwt.iter().enumerate() {
            let path = root.index(index);
            issuer.validate(&path, own_issuers, &mut errors);
            let url = issuer.issuer.url.as_str();
            if seen.contains(&url) {
                let path = path.child("issuer").child("url");
                errors.push(FieldError::duplicate(&path, url));
            }
            seen.push(url);
        }
        if let Some(anonymous) = &self.anonymous
            && !anonymous.enabled
            && !anonymous.conditions.is_empty()
        {
            errors.push(FieldError::invalid(
                &Path::new("anonymous").child("conditions"),
                anonymous.conditions.len() as u64,
                "enabled should be set to true when conditions are defined",
            ));
        }
        errors
    }
}

impl JwtIssuer {
    fn validate(&self, path: &Path, own_issuers: &[String], errors: &mut ErrorList) {
        self.issuer
            .validate(&path.child("issuer"), own_issuers, errors);
        let rules = path.child("claimValidationRules");
        for (index, rule) in self.claim_validation_rules.iter().enumerate() {
            let at = rules.index(index);
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (true, true) => {
                    errors.push(FieldError::required(&at, "claim or expression is required"));
                }
                (false, false) => errors.push(FieldError::invalid(
                    &at,
                    rule.claim.as_str(),
                    "claim and expression can't both be set",
                )),
                (false, true) if !rule.message.is_empty() => errors.push(FieldError::invalid(
                    &at.child("message"),
                    rule.message.as_str(),
                    "message can't be set when claim is set",
                )),
                (true, false) if !rule.required_value.is_empty() => {
                    errors.push(FieldError::invalid(
                        &at.child("requiredValue"),
                        rule.required_value.as_str(),
                        "requiredValue can't be set when expression is set",
                    ));
                }
                _ => {}
            }
            let before = &self.claim_validation_rules[..index];
            if !rule.claim.is_empty() && before.iter().any(|one| one.claim == rule.claim) {
                let claim = rule.claim.as_str();
                errors.push(FieldError::duplicate(&at.child("claim"), claim));
            }
            duplicate(
                &at,
                &rule.expression,
                before.iter().map(|one| one.expression.as_str()),
                errors,
            );
        }
        let rules = path.child("userValidationRules");
        for (index, rule) in self.user_validation_rules.iter().enumerate() {
            let at = rules.index(index);
            if rule.expression.is_empty() {
                errors.push(FieldError::required(&at.child("expression"), ""));
            }
            let before = self.user_validation_rules[..index].iter();
            let before = before.map(|one| one.expression.as_str());
            duplicate(&at, &rule.expression, before, errors);
        }
        let mappings = path.child("claimMappings");
        let username = &self.claim_mappings.username;
        username.validate(&mappings.child("username"), errors);
        if username.claim.is_empty() && username.expression.is_empty() {
            errors.push(FieldError::required(
                &mappings.child("username"),
                "claim or expression is required",
            ));
        }
        self.claim_mappings
            .groups
            .validate(&mappings.child("groups"), errors);
        let uid = &self.claim_mappings.uid;
        if !uid.claim.is_empty() && !uid.expression.is_empty() {
            errors.push(FieldError::invalid(
                &mappings.child("uid"),
                "",
                "claim and expression can't both be set",
            ));
        }
        self.validate_extra(&mappings.child("extra"), errors);
    }

    fn validate_extra(&self, path: &Path, errors: &mut ErrorList) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, mapping) in self.claim_mappings.extra.iter().enumerate() {
            let at = path.index(index);
            let key = mapping.key.as_str();
            if key.is_empty() {
                errors.push(FieldError::required(&at.child("key"), ""));
                continue;
            }
            api::validate::domain_prefixed_path(errors, &at.child("key"), key);
            if key != key.to_ascii_lowercase() {
                let detail = "key must be lowercase";
                errors.push(FieldError::invalid(&at.child("key"), key, detail));
            }
            if is_reserved(key) {
                let detail =
                    "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                errors.push(FieldError::invalid(&at.child("key"), key, detail));
            }
            if seen.contains(&key) {
                errors.push(FieldError::duplicate(&at.child("key"), key));
            }
            seen.push(key);
            if mapping.value_expression.is_empty() {
                let detail = "valueExpression is required";
                errors.push(FieldError::required(&at.child("valueExpression"), detail));
            }
        }
    }
}

/// Complains if a rule's expression stands in one before it.
fn duplicate<'a>(
    rule: &Path,
    expression: &str,
    mut before: impl Iterator<Item = &'a str>,
    errors: &mut ErrorList,
) {
    if !expression.is_empty() && before.any(|one| one == expression) {
        errors.push(FieldError::duplicate(&rule.child("expression"), expression));
    }
}

fn is_reserved(key: &str) -> bool {
    let domain = key.split('/').next().unwrap_or_default();
    ["k8s.io", "kubernetes.io"].iter().any(|ours| {
        domain == *ours
            || domain
                .strip_suffix(ours)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

impl PrefixedClaim {
    fn validate(&self, path: &Path, errors: &mut ErrorList) {
        if !self.claim.is_empty() && !self.expression.is_empty() {
            let detail = "claim and expression can't both be set";
            errors.push(FieldError::invalid(path, "", detail));
        }
        if !self.expression.is_empty() && self.prefix.is_some() {
            let detail = "prefix can't be set when expression is set";
            let prefix = self.prefix.as_deref().unwrap_or_default();
            errors.push(FieldError::invalid(&path.child("prefix"), prefix, detail));
        }
        if !self.claim.is_empty() && self.prefix.is_none() {
            let detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
            errors.push(FieldError::required(&path.child("prefix"), detail));
        }
        if self.claim.is_empty() && self.prefix.is_some() {
            let detail = "non-empty claim name is required when prefix is set";
            errors.push(FieldError::required(&path.child("claim"), detail));
        }
    }
}

impl Issuer {
    fn validate(&self, path: &Path, own_issuers: &[String], errors: &mut ErrorList) {
        validate_url(&self.url, &path.child("url"), errors);
        if own_issuers.contains(&self.url) {
            let detail = format!("URL must not overlap with disallowed issuers: {own_issuers:?}");
            errors.push(FieldError::invalid(
                &path.child("url"),
                self.url.as_str(),
                detail,
            ));
        }
        if let Some(discovery) = self.discovery_url.as_deref().filter(|url| !url.is_empty()) {
            let at = path.child("discoveryURL");
            validate_url(discovery, &at, errors);
            if discovery.trim_end_matches('/') == self.url.trim_end_matches('/') {
                let detail = "discoveryURL must be different from URL";
                errors.push(FieldError::invalid(&at, discovery, detail));
            }
        }
        let at = path.child("audiences");
        if self.audiences.is_empty() {
            let detail = "at least one jwt[*].issuer.audiences is required";
            errors.push(FieldError::required(&at, detail));
        }
        for (index, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                errors.push(FieldError::required(
                    &at.index(index),
                    "audience can't be empty",
                ));
            }
            if self.audiences[..index].contains(audience) {
                errors.push(FieldError::duplicate(&at.index(index), audience.as_str()));
            }
        }
        let policy = path.child("audienceMatchPolicy");
        match (self.audiences.len(), self.audience_match_policy.as_str()) {
            (2.., "MatchAny") | (0..=1, "" | "MatchAny") => {}
            (2.., given) => errors.push(FieldError::invalid(
                &policy,
                given,
                "audienceMatchPolicy must be MatchAny for multiple audiences",
            )),
            (_, given) => errors.push(FieldError::invalid(
                &policy,
                given,
                "audienceMatchPolicy must be empty or MatchAny for single audience",
            )),
        }
        if !self.certificate_authority.is_empty()
            && let Err(error) = base::tls::client_verifier(self.certificate_authority.as_bytes())
        {
            errors.push(FieldError::invalid(
                &path.child("certificateAuthority"),
                "<omitted>",
                error.to_string(),
            ));
        }
        if !matches!(
            self.egress_selector_type.as_str(),
            "" | "cluster" | "controlplane"
        ) {
            errors.push(FieldError::invalid(
                &path.child("egressSelectorType"),
                self.egress_selector_type.as_str(),
                "egress selector must be either controlplane or cluster",
            ));
        }
    }
}

fn validate_url(url: &str, path: &Path, errors: &mut ErrorList) {
    if url.is_empty() {
        errors.push(FieldError::required(path, "URL is required"));
        return;
    }
    let detail = match url.parse::<http::Uri>() {
        Err(_) => "must be a URL",
        Ok(parsed) if parsed.scheme_str() != Some("https") => "URL scheme must be https",
        Ok(parsed)
            if parsed
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@')) =>
        {
            "URL must not contain a username or password"
        }
        Ok(parsed) if parsed.query().is_some_and(|query| !query.is_empty()) => {
            "URL must not contain a query"
        }
        Ok(_) if url.contains('#') => "URL must not contain a fragment",
        Ok(_) => return,
    };
    errors.push(FieldError::invalid(path, url, detail));
}

/// The `--oidc-*` flags.
#[derive(Clone, Debug, Default)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`
    pub issuer_url: String,
    /// `--oidc-client-id`
    pub client_id: String,
    /// `--oidc-ca-file`, read.
    pub certificate_authority: String,
    /// `--oidc-username-claim`: `sub` by default.
    pub username_claim: String,
    /// `--oidc-username-prefix`: `-` for none; by default the issuer and `#`, but none for `email`.
    pub username_prefix: Option<String>,
    /// `--oidc-groups-claim`
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-signing-algs`
    pub signing_algorithms: Vec<String>,
    /// `--oidc-required-claim`
    pub required_claims: Vec<(String, String)>,
}

impl OidcFlags {
    /// The issuer that they describe.
    pub fn to_issuer(&self) -> JwtIssuer {
        let claim = match self.username_claim.as_str() {
            "" => "sub",
            claim => claim,
        };
        let prefix = match self.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) if !prefix.is_empty() => prefix.to_owned(),
            _ if claim == "email" => String::new(),
            _ => format!("{}#", self.issuer_url),
        };
        let groups = if self.groups_claim.is_empty() {
            PrefixedClaim::default()
        } else {
            PrefixedClaim {
                claim: self.groups_claim.clone(),
                prefix: Some(self.groups_prefix.clone()),
                ..PrefixedClaim::default()
            }
        };
        let required = self.required_claims.iter();
        JwtIssuer {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                certificate_authority: self.certificate_authority.clone(),
                audiences: vec![self.client_id.clone()],
                ..Issuer::default()
            },
            claim_mappings: ClaimMappings {
                username: PrefixedClaim {
                    claim: claim.to_owned(),
                    prefix: Some(prefix),
                    ..PrefixedClaim::default()
                },
                groups,
                ..ClaimMappings::default()
            },
            claim_validation_rules: required
                .map(|(claim, value)| ClaimValidationRule {
                    claim: claim.clone(),
                    required_value: value.clone(),
                    ..ClaimValidationRule::default()
                })
                .collect(),
            signing_algorithms: match self.signing_algorithms.as_slice() {
                [] => vec!["RS256".to_owned()],
                given => given.to_vec(),
            },
            ..JwtIssuer::default()
        }
    }
}
