//! Bootstrap tokens: Secrets of the type `bootstrap.kubernetes.io/token` in `kube-system`, read by the token cleaner and the bootstrap signer.

use client::{InformerScope, Namespace, Object as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// Where they are.
pub(crate) const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME_PREFIX: &str = "bootstrap-token-";

/// What an informer of them looks at.
pub(crate) fn scope() -> InformerScope {
    InformerScope {
        namespace: Namespace::from(NAMESPACE),
        field_selector: Some(format!("type={TYPE}")),
        ..InformerScope::default()
    }
}

/// A token that can be used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BootstrapToken {
    /// Its public part.
    pub(crate) id: String,
    /// Its secret part.
    pub(crate) secret: String,
    /// Whether it is for signing.
    pub(crate) signs: bool,
    /// When it ends, if it does.
    pub(crate) expires_at: Option<Timestamp>,
}

impl BootstrapToken {
    /// A Secret as a token: it has both parts, and the name of its id.
    pub(crate) fn read(secret: &Secret) -> Option<Self> {
        let part = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            let text = String::from_utf8(bytes.clone()).ok()?;
            Some(text).filter(|text| !text.is_empty())
        };
        let id = part("token-id")?;
        (secret.name().strip_prefix(NAME_PREFIX) == Some(id.as_str())).then_some(())?;
        Some(Self {
            id,
            secret: part("token-secret")?,
            signs: part("usage-bootstrap-signing").as_deref() == Some("true"),
            expires_at: expires_at(secret),
        })
    }
}

/// When a token ends, if it does. A date that cannot be read has passed.
pub(crate) fn expires_at(secret: &Secret) -> Option<Timestamp> {
    let written = &secret.data.as_ref()?.get("expiration")?.0;
    let parsed = std::str::from_utf8(written)
        .ok()
        .and_then(|text| text.parse().ok());
    Some(parsed.unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
        let bytes =
            |(key, text): &(&str, &str)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()));
        let mut secret = Secret {
            data: Some(data.iter().map(bytes).collect()),
            ..Secret::default()
        };
        secret.metadata.name = Some(name.to_owned());
        secret
    }

    #[test]
    fn when_a_token_ends() {
        let at = "2026-01-01T00:00:00Z";
        for (data, expected) in [
            (vec![("expiration", at)], Some(at.parse().unwrap())),
            (vec![("expiration", "soon")], Some(Timestamp::MIN)),
            (vec![], None),
        ] {
            assert_eq!(expires_at(&secret("s", &data)), expected);
        }
    }

    #[test]
    fn what_is_a_token() {
        let both = [("token-id", "abcdef"), ("token-secret", "0123")];
        let read = |name: &str, data: &[(&str, &str)]| BootstrapToken::read(&secret(name, data));
        let token = read("bootstrap-token-abcdef", &both).unwrap();
        assert_eq!((token.secret.as_str(), token.signs), ("0123", false));
        assert!(
            read("bootstrap-token-other", &both).is_none(),
            "another's name"
        );
        assert!(
            read("bootstrap-token-abcdef", &both[..1]).is_none(),
            "no secret"
        );
        let signing = [both[0], both[1], ("usage-bootstrap-signing", "true")];
        assert!(read("bootstrap-token-abcdef", &signing).unwrap().signs);
    }
}
