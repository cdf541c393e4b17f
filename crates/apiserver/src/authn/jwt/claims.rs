//! From a verified token's claims to a user, by an issuer's mappings and rules.

use std::collections::BTreeMap;

use apimachinery::Object;
use serde_json::Value;

use super::{
    config::{ClaimOrExpression, JwtIssuer, PrefixedClaim},
    expression::{Expression, Wanted},
};
use crate::{authn::reviews, user::UserInfo};

/// Where a value comes from.
enum Source {
    Nothing,
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// Makes users.
pub(super) struct Mapper {
    username: Source,
    groups: Source,
    uid: Source,
    extra: Vec<(String, Expression)>,
    required: Vec<(String, String)>,
    claim_rules: Vec<(Expression, String)>,
    user_rules: Vec<(Expression, String)>,
    /// Whether any of it looks at the claims by expression.
    uses_claims: bool,
}

impl Mapper {
    /// Compiles what there is to compile. The error names the expression.
    pub(super) fn new(config: &JwtIssuer) -> Result<Self, String> {
        demand_verified_email(config)?;
        let mappings = &config.claim_mappings;
        let mut mapper = Self {
            username: Source::of_prefixed(&mappings.username, Wanted::Text)?,
            groups: Source::of_prefixed(&mappings.groups, Wanted::Texts)?,
            uid: Source::of_plain(&mappings.uid)?,
            extra: Vec::new(),
            required: Vec::new(),
            claim_rules: Vec::new(),
            user_rules: Vec::new(),
            uses_claims: false,
        };
        for mapping in &mappings.extra {
            let expression = Expression::of_claims(&mapping.value_expression, Wanted::Texts)?;
            mapper.extra.push((mapping.key.clone(), expression));
        }
        for rule in &config.claim_validation_rules {
            if rule.expression.is_empty() {
                let required = (rule.claim.clone(), rule.required_value.clone());
                mapper.required.push(required);
            } else {
                let expression = Expression::of_claims(&rule.expression, Wanted::Bool)?;
                mapper.claim_rules.push((expression, rule.message.clone()));
            }
        }
        for rule in &config.user_validation_rules {
            let expression = Expression::of_user(&rule.expression)?;
            mapper.user_rules.push((expression, rule.message.clone()));
        }
        let sources = [&mapper.username, &mapper.groups, &mapper.uid];
        mapper.uses_claims = sources
            .iter()
            .any(|source| matches!(source, Source::Expression(_)))
            || !mapper.extra.is_empty()
            || !mapper.claim_rules.is_empty();
        Ok(mapper)
    }

    /// The user, or why there is none.
    pub(super) fn user(&self, claims: &Object) -> Result<UserInfo, String> {
        let value = match self.uses_claims {
            true => Value::Object(claims.clone()),
            false => Value::Null,
        };
        let user = UserInfo {
            name: self.name(claims, &value)?,
            groups: self.groups(claims, &value)?,
            uid: self.uid(claims, &value)?,
            extra: self.extra(claims, &value)?,
        };
        self.check_required(claims)?;
        check(&self.claim_rules, &value, "claim validation expression")?;
        if !self.user_rules.is_empty() {
            let user = reviews::to_value(&user);
            check(&self.user_rules, &user, "user info validation rule")?;
        }
        Ok(user)
    }

    fn check_required(&self, claims: &Object) -> Result<(), String> {
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
        Ok(())
    }

    fn name(&self, claims: &Object, value: &Value) -> Result<String, String> {
        let (claim, prefix) = match &self.username {
            Source::Claim { name, prefix } => (name.as_str(), prefix),
            Source::Nothing => return Err("oidc: no username is mapped".to_owned()),
            Source::Expression(expression) => {
                let wrong =
                    |why: &str| format!("oidc: error evaluating username claim expression: {why}");
                let name = expression.evaluate(value).map_err(|why| wrong(&why))?;
                let Value::String(name) = name else {
                    return Err(wrong("username claim expression must return a string"));
                };
                if name.is_empty() {
                    return Err("oidc: empty username via CEL expression is not allowed".to_owned());
                }
                return Ok(name);
            }
        };
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
        Ok(format!("{prefix}{name}"))
    }

    fn groups(&self, claims: &Object, value: &Value) -> Result<Vec<String>, String> {
        match &self.groups {
            Source::Nothing => Ok(Vec::new()),
            Source::Expression(expression) => listed(expression, value)
                .map_err(|why| format!("oidc: error evaluating group claim expression: {why}")),
            Source::Claim { name, prefix } => {
                let Some(value) = claims.get(name) else {
                    return Ok(Vec::new());
                };
                let groups = texts(Some(value)).ok_or_else(|| {
                    format!("oidc: parse groups claim {name:?}: not a list of strings")
                })?;
                let prefixed = |group| format!("{prefix}{group}");
                Ok(groups.into_iter().map(prefixed).collect())
            }
        }
    }

    fn uid(&self, claims: &Object, value: &Value) -> Result<String, String> {
        match &self.uid {
            Source::Nothing => Ok(String::new()),
            Source::Claim { name, .. } => text(claims, name)
                .map(str::to_owned)
                .map_err(|why| format!("oidc: parse uid claim {name:?}: {why}")),
            Source::Expression(expression) => match expression.evaluate(value) {
                Ok(Value::String(uid)) => Ok(uid),
                Ok(_) => Err("oidc: error evaluating uid claim expression: uid claim expression must return a string".to_owned()),
                Err(why) => Err(format!("oidc: error evaluating uid claim expression: {why}")),
            },
        }
    }

    fn extra(
        &self,
        claims: &Object,
        value: &Value,
    ) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims.get("jti").and_then(Value::as_str)
            && !id.is_empty()
        {
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            extra.insert(key, vec![format!("JTI={id}")]);
        }
        for (key, expression) in &self.extra {
            let values = listed(expression, value).map_err(|why| {
                let text = expression.text();
                format!("oidc: error evaluating extra claim expression: {text}: {why}")
            })?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

impl Source {
    fn of_prefixed(claim: &PrefixedClaim, wanted: Wanted) -> Result<Self, String> {
        if !claim.expression.is_empty() {
            return Expression::of_claims(&claim.expression, wanted).map(Self::Expression);
        }
        Ok(match claim.claim.as_str() {
            "" => Self::Nothing,
            name => Self::Claim {
                name: name.to_owned(),
                prefix: claim.prefix.clone().unwrap_or_default(),
            },
        })
    }

    fn of_plain(claim: &ClaimOrExpression) -> Result<Self, String> {
        let claim = PrefixedClaim {
            claim: claim.claim.clone(),
            expression: claim.expression.clone(),
            prefix: None,
        };
        Self::of_prefixed(&claim, Wanted::Text)
    }
}

/// Rules must all be true.
fn check(rules: &[(Expression, String)], given: &Value, what: &str) -> Result<(), String> {
    for (rule, message) in rules {
        let wrong = |why: String| format!("oidc: error evaluating {what}: {why}");
        match rule.evaluate(given).map_err(wrong)? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                let text = rule.text();
                return Err(wrong(format!(
                    "validation expression '{text}' failed: {message}"
                )));
            }
            _ => {
                return Err(wrong(
                    "validation expression must return a boolean".to_owned(),
                ));
            }
        }
    }
    Ok(())
}

/// Texts that an expression comes to; empty ones are none.
fn listed(expression: &Expression, value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let found = expression.evaluate(value)?;
    let mut values = texts(Some(&found)).ok_or_else(wrong)?;
    values.retain(|value| !value.is_empty());
    Ok(values)
}

/// Who names users by their address must look at whether it was verified, as upstream demands.
fn demand_verified_email(config: &JwtIssuer) -> Result<(), String> {
    let mappings = &config.claim_mappings;
    let named_by_address = mentions(&mappings.username.expression, "claims.email");
    let extra = mappings
        .extra
        .iter()
        .map(|mapping| &mapping.value_expression);
    let rules = config
        .claim_validation_rules
        .iter()
        .map(|rule| &rule.expression);
    let looked_at = std::iter::once(&mappings.username.expression)
        .chain(extra)
        .chain(rules)
        .any(|expression| mentions(expression, "claims.email_verified"));
    if named_by_address && !looked_at {
        return Err(format!(
            "claimMappings.username.expression: Invalid value: {:?}: claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
            mappings.username.expression
        ));
    }
    Ok(())
}

/// Whether the name stands in an expression by itself, not as the beginning of a longer one.
fn mentions(expression: &str, name: &str) -> bool {
    expression.match_indices(name).any(|(at, _)| {
        !expression[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
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
