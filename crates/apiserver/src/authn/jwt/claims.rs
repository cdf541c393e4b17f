//! From a verified token's claims to a user, by an issuer's mappings and rules.

use std::collections::BTreeMap;

use apimachinery::Object;
use serde_json::Value;

use super::config::{JwtIssuer, PrefixedClaim};
use crate::user::UserInfo;

/// Makes users.
pub(super) struct Mapper {
    username: PrefixedClaim,
    groups: PrefixedClaim,
    uid: String,
    required: Vec<(String, String)>,
}

impl Mapper {
    pub(super) fn new(config: &JwtIssuer) -> Result<Self, String> {
        let mappings = &config.claim_mappings;
        let rules = &config.claim_validation_rules;
        let expressions = [
            &mappings.username.expression,
            &mappings.groups.expression,
            &mappings.uid.expression,
        ];
        if expressions.iter().any(|expression| !expression.is_empty())
            || !mappings.extra.is_empty()
            || !config.user_validation_rules.is_empty()
            || rules.iter().any(|rule| !rule.expression.is_empty())
        {
            return Err("expressions are not supported".to_owned());
        }
        Ok(Self {
            username: mappings.username.clone(),
            groups: mappings.groups.clone(),
            uid: mappings.uid.claim.clone(),
            required: rules
                .iter()
                .map(|rule| (rule.claim.clone(), rule.required_value.clone()))
                .collect(),
        })
    }

    /// The user, or why there is none.
    pub(super) fn user(&self, claims: &Object) -> Result<UserInfo, String> {
        let user = UserInfo {
            name: self.name(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            extra: self.extra(claims)?,
        };
        for (claim, wanted) in &self.required {
            let Some(value) = claims.get(claim) else {
                return Err(format!(
                    "oidc: required claim {claim} not present in ID token"
                ));
            };
            let Some(value) = value.as_str() else {
                return Err(format!("oidc: parse claim {claim}: not a string"));
            };
            if value != wanted {
                return Err(format!(
                    "oidc: required claim {claim} value does not match. Got = {value}, want = {wanted}"
                ));
            }
        }
        Ok(user)
    }

    fn name(&self, claims: &Object) -> Result<String, String> {
        let claim = self.username.claim.as_str();
        let name = text(claims, claim)
            .map_err(|why| format!("oidc: parse username claims {claim:?}: {why}"))?;
        // An address that the issuer has not verified is anybody's to claim (OpenID Connect Core, 5.1).
        if claim == "email"
            && let Some(verified) = claims.get("email_verified")
        {
            match verified {
                Value::Bool(true) => {}
                Value::Bool(false) => return Err("oidc: email not verified".to_owned()),
                _ => return Err("oidc: parse 'email_verified' claim: not a boolean".to_owned()),
            }
        }
        let prefix = self.username.prefix.as_deref().unwrap_or_default();
        Ok(format!("{prefix}{name}"))
    }

    fn groups(&self, claims: &Object) -> Result<Vec<String>, String> {
        let claim = self.groups.claim.as_str();
        let Some(value) = claims.get(claim).filter(|_| !claim.is_empty()) else {
            return Ok(Vec::new());
        };
        let groups = texts(Some(value))
            .ok_or_else(|| format!("oidc: parse groups claim {claim:?}: not a list of strings"))?;
        let prefix = self.groups.prefix.as_deref().unwrap_or_default();
        Ok(groups
            .into_iter()
            .map(|group| format!("{prefix}{group}"))
            .collect())
    }

    fn uid(&self, claims: &Object) -> Result<String, String> {
        if self.uid.is_empty() {
            return Ok(String::new());
        }
        text(claims, &self.uid)
            .map(str::to_owned)
            .map_err(|why| format!("oidc: parse uid claim {:?}: {why}", self.uid))
    }

    fn extra(&self, claims: &Object) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims.get("jti").and_then(Value::as_str)
            && !id.is_empty()
        {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            extra.insert(key, vec![format!("JTI={id}")]);
        }
        Ok(extra)
    }
}

fn text<'a>(claims: &'a Object, claim: &str) -> Result<&'a str, &'static str> {
    match claims.get(claim) {
        None => Err("claim not present"),
        Some(value) => value.as_str().ok_or("not a string"),
    }
}

/// One text or a list of them; `None` if it is neither.
pub(super) fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}
