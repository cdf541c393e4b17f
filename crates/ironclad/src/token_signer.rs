//! Gives the controllers, which do not know the API server's house, its way of signing service account tokens.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use apiserver::tokens;

/// Signs with the private key in a PEM file (`--service-account-private-key-file`).
pub(crate) fn from_file(path: &Path) -> anyhow::Result<controllers::SignToken> {
    let read = || anyhow::Ok(tokens::private_key(&std::fs::read(path)?)?);
    let key = read().with_context(|| format!("reading the key {}", path.display()))?;
    Ok(Arc::new(move |claims| {
        tokens::sign(claims, &key).map_err(|error| error.to_string())
    }))
}
