//! Whom a front proxy vouches for: it proves itself by a certificate, and says in headers who its client is.

use std::collections::BTreeMap;

use base::{Clock, tls::TlsError};
use http::HeaderMap;

use crate::{
    authentication::{Authorities, Unauthorized, User, common_name},
    listener::Peer,
};

/// Which headers say what, in any case of letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxyHeaders {
    /// `--requestheader-username-headers`: the first that is there.
    pub username: Vec<String>,
    /// `--requestheader-uid-headers`: the first that is there.
    pub uid: Vec<String>,
    /// `--requestheader-group-headers`: all values of all of them.
    pub group: Vec<String>,
    /// `--requestheader-extra-headers-prefix`: what follows is the key, percent-encoded.
    pub extra_prefixes: Vec<String>,
}

impl Default for FrontProxyHeaders {
    /// Those of a component that delegates authentication; none says the uid.
    fn default() -> Self {
        Self {
            username: vec!["x-remote-user".to_owned()],
            uid: Vec::new(),
            group: vec!["x-remote-group".to_owned()],
            extra_prefixes: vec!["x-remote-extra-".to_owned()],
        }
    }
}

/// A front proxy that is believed.
pub struct FrontProxy {
    authorities: Authorities,
    allowed_names: Vec<String>,
    headers: FrontProxyHeaders,
}

impl FrontProxy {
    /// One whose certificate an authority of this bundle (PEM) has signed, for one of these common names; for any if none is given.
    pub fn new(
        bundle: &[u8],
        allowed_names: Vec<String>,
        headers: FrontProxyHeaders,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            authorities: Authorities::new(bundle)?,
            allowed_names,
            headers,
        })
    }

    /// Whom it vouches for. `None`: this is not a front proxy's request.
    pub(crate) fn user(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        clock: &Clock,
    ) -> Option<Result<User, Unauthorized>> {
        let leaf = peer.certificates.first()?;
        let name = first(headers, &self.headers.username)?;
        if let Err(error) = self.authorities.verify(peer, clock) {
            // It may be a certificate of somebody else, who happens to send that header.
            tracing::debug!(%error, "not a front proxy's certificate");
            return Some(Err(Unauthorized));
        }
        let proxy = common_name(leaf).unwrap_or_default();
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy) {
            tracing::debug!(proxy, "not the name of a front proxy");
            return Some(Err(Unauthorized));
        }
        Some(Ok(User {
            name: name.to_owned(),
            uid: first(headers, &self.headers.uid)
                .unwrap_or_default()
                .to_owned(),
            groups: self.groups(headers),
            extra: self.extra(headers),
        }))
    }

    fn groups(&self, headers: &HeaderMap) -> Vec<String> {
        let values = self
            .headers
            .group
            .iter()
            .flat_map(|name| headers.get_all(name));
        values
            .filter_map(|value| value.to_str().ok())
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let key = self
                .headers
                .extra_prefixes
                .iter()
                .find_map(|prefix| name.as_str().strip_prefix(&prefix.to_ascii_lowercase()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                let key = percent_decoded(key).unwrap_or_else(|| key.to_owned());
                extra.entry(key).or_default().push(value.to_owned());
            }
        }
        extra
    }
}

fn first<'a>(headers: &'a HeaderMap, names: &[String]) -> Option<&'a str> {
    names
        .iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|value| !value.is_empty())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    use super::*;

    /// An authority, and a client certificate of it.
    fn issue(name: &str) -> (String, Peer) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let peer = Peer {
            certificates: vec![leaf.der().to_vec()],
        };
        (authority.pem(), peer)
    }

    #[test]
    fn only_the_front_proxy_is_believed() {
        let (authority, proxy) = issue("front-proxy-client");
        let (_, stranger) = issue("front-proxy-client");
        let make = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            FrontProxy::new(authority.as_bytes(), names, FrontProxyHeaders::default()).unwrap()
        };
        let mut headers = HeaderMap::new();
        let known = make(&["front-proxy-client"]);
        let clock = Clock::system();
        assert_eq!(known.user(&headers, &proxy, &clock), None);
        headers.insert("X-Remote-User", "jane".parse().unwrap());
        headers.append("X-Remote-Group", "dev".parse().unwrap());
        headers.append("X-Remote-Group", "ops".parse().unwrap());
        headers.insert("X-Remote-Extra-Acme.com%2Fproject", "some".parse().unwrap());
        let user = known.user(&headers, &proxy, &clock).unwrap().unwrap();
        assert_eq!(user.name, "jane");
        assert_eq!(user.groups, ["dev", "ops"]);
        assert_eq!(user.extra["acme.com/project"], ["some"]);
        for (front_proxy, peer) in [(&known, &stranger), (&make(&["other"]), &proxy)] {
            assert_eq!(
                front_proxy.user(&headers, peer, &clock),
                Some(Err(Unauthorized))
            );
        }
        assert!(make(&[]).user(&headers, &proxy, &clock).unwrap().is_ok());
        assert_eq!(known.user(&headers, &Peer::default(), &clock), None);
    }
}
