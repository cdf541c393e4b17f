//! Serving certificates of components: read from files and followed, or made.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use base::{Clock, Reloader, tls::ServingCertificate};
use bootstrap::{Authority, Subject, write_atomically};

/// That of two files; when they change, theirs is served from then on.
pub(crate) fn follow(
    certificate_file: &Path,
    key_file: &Path,
    reloader: &mut Reloader,
) -> anyhow::Result<Arc<ServingCertificate>> {
    let certificate = Arc::new(ServingCertificate::read(certificate_file, key_file)?);
    let paths = [certificate_file.to_owned(), key_file.to_owned()];
    let (files, serving) = (paths.clone(), Arc::clone(&certificate));
    reloader.watch(paths.iter().map(PathBuf::as_path), move || {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| error.to_string());
        let (chain, key) = (read(&files[0])?, read(&files[1])?);
        serving
            .replace(&chain, &key)
            .map_err(|error| error.to_string())
    });
    Ok(certificate)
}

/// One that an authority of its own has signed, as upstream's components make. With a directory it lasts as long as its files, which whoever
/// wants to verify it must fetch; without one, as long as the process. The first of its names is its subject.
pub(crate) fn own(
    directory: Option<&Path>,
    file_name: &str,
    dns_names: Vec<String>,
    addresses: Vec<IpAddr>,
    clock: &Clock,
) -> anyhow::Result<ServingCertificate> {
    let make = || -> anyhow::Result<(String, String)> {
        let name = dns_names.first().cloned().unwrap_or_default();
        let authority = Authority::create(&format!("{name}-ca"), clock.now())?;
        let subject = Subject::server(name, dns_names, addresses);
        let issued = authority.issue(&subject, clock.now())?;
        let chain = issued.certificate_pem + &authority.issued().certificate_pem;
        Ok((chain, issued.key_pem))
    };
    let Some(directory) = directory else {
        let (chain, key) = make()?;
        return Ok(ServingCertificate::from_pem(
            chain.as_bytes(),
            key.as_bytes(),
        )?);
    };
    let file = |extension: &str| directory.join(format!("{file_name}.{extension}"));
    let (certificate, key) = (file("crt"), file("key"));
    if !certificate.exists() || !key.exists() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let (chain, key_pem) = make()?;
        for (path, content, mode) in [(&key, &key_pem, 0o600), (&certificate, &chain, 0o644)] {
            write_atomically(path, content.as_bytes(), mode)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(ServingCertificate::read(&certificate, &key)?)
}
