//! Issuing X.509 certificates: an [`Authority`] signs for a [`Subject`]. ECDSA P-256 throughout.

use std::{net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// Clocks of the hosts of a cluster differ; certificates are valid from a little before their making.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// Life of a certificate authority, as kubeadm's.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Life of what it signs, as kubeadm's.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Proves a server's name.
    Server,
    /// Proves a user's.
    Client,
    /// Both, for a kubelet.
    ServerAndClient,
}

/// Whom a certificate names.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The user name of a client.
    pub common_name: String,
    /// The group of a client.
    pub organization: Option<String>,
    /// Names under which a server is reached.
    pub dns_names: Vec<String>,
    /// Addresses under which a server is reached.
    pub addresses: Vec<IpAddr>,
    /// What for.
    pub usage: Usage,
}

impl Subject {
    /// A client: `system:kube-scheduler`, or `system:node:n1` in the group `system:nodes`.
    pub fn client(user: impl Into<String>, group: Option<&str>) -> Self {
        Self {
            common_name: user.into(),
            organization: group.map(str::to_owned),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage: Usage::Client,
        }
    }

    /// A server, under all its names.
    pub fn server(name: impl Into<String>, dns_names: Vec<String>, addresses: Vec<IpAddr>) -> Self {
        Self {
            common_name: name.into(),
            organization: None,
            dns_names,
            addresses,
            usage: Usage::Server,
        }
    }
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// `CERTIFICATE`.
    pub certificate_pem: String,
    /// `PRIVATE KEY` (PKCS #8).
    pub key_pem: String,
}

/// Something that signs certificates.
pub struct Authority {
    issued: Issued,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new, self-signed authority.
    pub fn create(common_name: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([common_name.to_owned()])?;
        params.distinguished_name = distinguished_name(common_name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        set_validity(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?;
        let issued = Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        Self::from_pem(issued)
    }

    /// An authority from its files.
    pub fn from_pem(issued: Issued) -> Result<Self, rcgen::Error> {
        let key = KeyPair::from_pem(&issued.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&issued.certificate_pem, key)?;
        Ok(Self { issued, issuer })
    }

    /// Its own certificate and key.
    pub fn issued(&self) -> &Issued {
        &self.issued
    }

    /// Signs a certificate for `subject`, with a new key.
    pub fn issue(&self, subject: &Subject, now: Timestamp) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(subject.dns_names.clone())?;
        params.subject_alt_names.extend(
            subject
                .addresses
                .iter()
                .map(|&address| SanType::IpAddress(address)),
        );
        params.distinguished_name =
            distinguished_name(&subject.common_name, subject.organization.as_deref());
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = match subject.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::ServerAndClient => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
        };
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, LEAF_LIFE);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

pub(crate) fn distinguished_name(
    common_name: &str,
    organization: Option<&str>,
) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let at = |time: Timestamp| {
        let since_epoch = Duration::from_secs(time.as_second().max(0).unsigned_abs());
        rcgen::date_time_ymd(1970, 1, 1) + since_epoch
    };
    params.not_before = at(now - BACKDATE);
    params.not_after = at(now + life);
}
