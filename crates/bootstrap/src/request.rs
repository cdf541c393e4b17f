//! Certificate signing requests (PKCS #10): what a node asks the cluster for, and what such a request says. Pure.

use std::net::IpAddr;

use rcgen::{CertificateParams, KeyPair, SanType};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    pem::parse_x509_pem,
    prelude::FromDer as _,
};

use crate::certificate::{Subject, distinguished_name};

/// A request and the key that it is for, both PEM.
#[derive(Clone)]
pub struct CertificateRequest {
    /// `CERTIFICATE REQUEST`.
    pub request_pem: String,
    /// `PRIVATE KEY` (PKCS #8).
    pub key_pem: String,
}

impl CertificateRequest {
    /// Asks for a certificate for `subject`, with a new key. What it is to be used for is said beside the request.
    pub fn new(subject: &Subject) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(subject.dns_names.clone())?;
        let addresses = subject.addresses.iter();
        params
            .subject_alt_names
            .extend(addresses.map(|&address| SanType::IpAddress(address)));
        params.distinguished_name =
            distinguished_name(&subject.common_name, subject.organization.as_deref());
        Ok(Self {
            request_pem: params.serialize_request(&key)?.pem()?,
            key_pem: key.serialize_pem(),
        })
    }
}

/// Whom a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedNames {
    /// CN.
    pub common_name: String,
    /// O.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Names of other sorts.
    pub others: usize,
}

impl RequestedNames {
    /// Reads a request in PEM; none if it is none, or its signature is not its key's.
    pub fn parse(pem: &[u8]) -> Option<Self> {
        let (_, pem) = parse_x509_pem(pem).ok()?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        request.verify_signature().ok()?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let mut names = Self {
            common_name: subject
                .iter_common_name()
                .next()
                .map(text)
                .unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(alternatives) = extension else {
                continue;
            };
            for name in &alternatives.general_names {
                match name {
                    GeneralName::DNSName(name) => names.dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => match *bytes {
                        [a, b, c, d] => names.addresses.push([*a, *b, *c, *d].into()),
                        bytes => match <[u8; 16]>::try_from(bytes) {
                            Ok(octets) => names.addresses.push(octets.into()),
                            Err(_) => names.others += 1,
                        },
                    },
                    _ => names.others += 1,
                }
            }
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_is_read() {
        let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let mut subject = Subject::server("system:node:n", vec!["n".to_owned()], addresses);
        subject.organization = Some("system:nodes".to_owned());
        let request = CertificateRequest::new(&subject).unwrap();
        let names = RequestedNames::parse(request.request_pem.as_bytes()).unwrap();
        assert_eq!(
            names,
            RequestedNames {
                common_name: "system:node:n".to_owned(),
                organizations: vec!["system:nodes".to_owned()],
                dns_names: subject.dns_names,
                addresses: subject.addresses,
                others: 0,
            }
        );
        assert_eq!(RequestedNames::parse(b"-----BEGIN NOTHING-----"), None);
        assert_eq!(RequestedNames::parse(request.key_pem.as_bytes()), None);
    }
}
