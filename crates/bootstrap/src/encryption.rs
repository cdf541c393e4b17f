//! The configuration with which a new cluster encrypts its secrets at rest: one generated key, in a file that only its owner reads.
//!
//! It is made once and never changed: keys are rotated by whoever owns the file. `identity` stands last, so that what was written before there
//! was a key can be read, and is encrypted when it is written next.

use std::{io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::write_atomically;

const KEY_BYTES: usize = 32;

/// Makes `path` unless it is there.
pub fn ensure_encryption_config(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let text = render(&STANDARD.encode(key));
    write_atomically(path, text.as_bytes(), 0o600)
}

fn render(secret: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: {secret}
  - identity: {{}}
"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pki/encryption.yaml");
        ensure_encryption_config(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        ensure_encryption_config(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = directory.path().join("other.yaml");
        ensure_encryption_config(&other).unwrap();
        assert_ne!(std::fs::read(&other).unwrap(), first);
    }
}
