//! Bootstrap tokens: what a machine that is to join has instead of a certificate
//! (<https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>). Names and groups are kubeadm's.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The group of everybody who comes with a token; roles for joining are bound to it.
pub const BOOTSTRAP_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// A token, `<id>.<secret>`.
#[derive(Clone)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

impl BootstrapToken {
    /// A new one, of the system's randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            id: random_text(6)?,
            secret: random_text(16)?,
        })
    }

    /// As it is sent.
    pub fn text(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// The Secret that makes it known to the API server until `now` + `life`.
    pub fn secret(&self, now: Timestamp, life: SignedDuration) -> Value {
        let expiration = now.checked_add(life).unwrap_or(Timestamp::MAX);
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": format!("bootstrap-token-{}", self.id),
                "namespace": "kube-system",
            },
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": self.id,
                "token-secret": self.secret,
                "expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "usage-bootstrap-authentication": "true",
                "auth-extra-groups": BOOTSTRAP_GROUP,
            },
        })
    }
}

/// Letters and digits that a token may have.
fn random_text(length: usize) -> Result<String, getrandom::Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes)?;
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    Ok(bytes.iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_shape_that_the_server_wants() {
        let token = BootstrapToken::generate().unwrap();
        let text = token.text();
        let (id, secret) = text.split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        let object = token.secret(Timestamp::UNIX_EPOCH, SignedDuration::from_hours(24));
        assert_eq!(object["metadata"]["name"], format!("bootstrap-token-{id}"));
        assert_eq!(object["stringData"]["expiration"], "1970-01-02T00:00:00Z");
        assert_ne!(text, BootstrapToken::generate().unwrap().text());
    }
}
