//! Signing a certificate request (PKCS #10) as an authority: RFC 5280, the little of it that Kubernetes needs.
//!
//! Subject, key and alternative names are taken over as the bytes they came as: a subject may hold several organizations, which are the
//! groups of the user. Usages and validity are not the requester's to say.

use base::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, SEQUENCE, UTC_TIME,
    bit_string, object_identifier, sequence, write,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, SigningKey as _};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    oid_registry::{OID_X509_EXT_SUBJECT_ALT_NAME, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER},
    pem::parse_x509_pem,
    prelude::{FromDer as _, X509Certificate},
};

/// Clocks of a cluster differ: what is signed is good from a little earlier on.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];

/// Usages by the names of the API: a bit of the key usage.
const BITS: &[(&str, u8)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Usages by the names of the API: an identifier of the extended key usage.
const PURPOSES: &[(&str, &[u64])] = &[
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];

/// A request, taken apart; its signature has been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) subject: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) alternative_names: Option<Vec<u8>>,
    /// The last common name of the subject.
    pub(super) common_name: String,
    /// Its organizations.
    pub(super) organizations: Vec<String>,
    pub(super) dns_names: usize,
    pub(super) emails: usize,
    pub(super) addresses: usize,
    pub(super) uris: usize,
}

impl Request {
    /// Of PEM.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem).map_err(|error| error.to_string())?;
        if pem.label != "CERTIFICATE REQUEST" {
            return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
        }
        let (_, request) =
            X509CertificationRequest::from_der(&pem.contents).map_err(|error| error.to_string())?;
        request.verify_signature().map_err(|e| e.to_string())?;
        let info = &request.certification_request_info;
        let texts = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let subject = &info.subject;
        let names = subject.iter_common_name();
        let names = texts(names.filter_map(|name| name.as_str().ok()).collect());
        let groups = subject.iter_organization();
        let mut parsed = Self {
            subject: subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            common_name: names.last().cloned().unwrap_or_default(),
            organizations: texts(groups.filter_map(|group| group.as_str().ok()).collect()),
            ..Self::default()
        };
        for attribute in info.iter_attributes() {
            if let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() {
                asked.extensions.iter().for_each(|one| parsed.take(one));
            }
        }
        Ok(parsed)
    }

    fn take(&mut self, extension: &X509Extension<'_>) {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            return;
        };
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            return;
        }
        self.alternative_names = Some(extension.value.to_vec());
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(_) => self.dns_names += 1,
                GeneralName::RFC822Name(_) => self.emails += 1,
                GeneralName::IPAddress(_) => self.addresses += 1,
                GeneralName::URI(_) => self.uris += 1,
                _ => {}
            }
        }
    }
}

/// Signs requests.
pub(crate) struct Authority {
    key: KeyPair,
    /// Its name, encoded.
    subject: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    not_after: Timestamp,
}

impl Authority {
    /// Of a certificate and its key in PEM.
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| format!("the key: {error}"))?;
        let wrong = |error: &dyn std::fmt::Display| format!("the certificate: {error}");
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|e| wrong(&e))?;
        let (_, own) = X509Certificate::from_der(&pem.contents).map_err(|e| wrong(&e))?;
        let identifier = own
            .get_extension_unique(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)
            .map_err(|e| wrong(&e))?
            .and_then(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        let not_after = own.validity().not_after.timestamp();
        Ok(Self {
            key,
            subject: own.subject().as_raw().to_vec(),
            key_identifier: identifier,
            not_after: Timestamp::from_second(not_after).map_err(|e| wrong(&e))?,
        })
    }

    /// A certificate in PEM for `usages` (names of the API), good for `lifetime` from `now`, but not longer than the authority.
    pub(super) fn sign(
        &self,
        request: &Request,
        usages: &[String],
        lifetime: SignedDuration,
        serial: [u8; 16],
        now: Timestamp,
    ) -> Result<String, String> {
        if now >= self.not_after {
            return Err("the authority's own certificate has expired".to_owned());
        }
        let until = (now + lifetime).min(self.not_after);
        let algorithm = self.algorithm()?;
        let extensions = self.extensions(request, usages)?;
        // A positive number: the first bit is its sign.
        let mut serial = serial;
        serial[0] = serial[0] & 0x7f | 0x40;
        let body = sequence(&[
            write(0xa0, &write(INTEGER, &[2])),
            write(INTEGER, &serial),
            algorithm.clone(),
            self.subject.clone(),
            sequence(&[time(now - BACKDATE), time(until)]),
            request.subject.clone(),
            request.key.clone(),
            write(0xa3, &sequence(&extensions)),
        ]);
        let signature = self.key.sign(&body).map_err(|error| error.to_string())?;
        let certificate = sequence(&[body, algorithm, bit_string(&signature)]);
        Ok(pem::encode_config(
            &Pem::new("CERTIFICATE", certificate),
            EncodeConfig::new().set_line_ending(LineEnding::LF),
        ))
    }

    fn algorithm(&self) -> Result<Vec<u8>, String> {
        let algorithm = self.key.algorithm();
        let known: [(_, &[u64], bool); 4] = [
            (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                &[1, 2, 840, 10_045, 4, 3, 2],
                false,
            ),
            (
                &rcgen::PKCS_ECDSA_P384_SHA384,
                &[1, 2, 840, 10_045, 4, 3, 3],
                false,
            ),
            (
                &rcgen::PKCS_RSA_SHA256,
                &[1, 2, 840, 113_549, 1, 1, 11],
                true,
            ),
            (&rcgen::PKCS_ED25519, &[1, 3, 101, 112], false),
        ];
        let (_, oid, with_null) = known
            .into_iter()
            .find(|(one, ..)| *one == algorithm)
            .ok_or("the authority's key is of an unknown sort")?;
        let null: &[u8] = if with_null { &[NULL, 0] } else { &[] };
        Ok(write(SEQUENCE, &[&object_identifier(oid), null].concat()))
    }

    fn extensions(&self, request: &Request, usages: &[String]) -> Result<Vec<Vec<u8>>, String> {
        let (mut bits, mut purposes) = (0_u16, Vec::new());
        for usage in usages {
            let bit = BITS.iter().find(|(name, _)| name == usage);
            let purpose = PURPOSES.iter().find(|(name, _)| name == usage);
            match (bit, purpose) {
                (Some((_, bit)), _) => bits |= 0x8000 >> bit,
                (None, Some((_, oid))) => purposes.push(object_identifier(oid)),
                (None, None) => return Err(format!("unrecognized usage values: {usage:?}")),
            }
        }
        let mut extensions = Vec::new();
        if bits != 0 {
            extensions.push(extension(KEY_USAGE, true, &key_usage(bits)));
        }
        if !purposes.is_empty() {
            extensions.push(extension(EXTENDED_KEY_USAGE, false, &sequence(&purposes)));
        }
        extensions.push(extension(BASIC_CONSTRAINTS, true, &sequence(&[])));
        if let Some(identifier) = &self.key_identifier {
            let value = sequence(&[write(0x80, identifier)]);
            extensions.push(extension(AUTHORITY_KEY_IDENTIFIER, false, &value));
        }
        if let Some(names) = &request.alternative_names {
            extensions.push(extension(SUBJECT_ALT_NAME, false, names));
        }
        Ok(extensions)
    }
}

/// When a certificate in PEM ends.
pub(super) fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn key_usage(bits: u16) -> Vec<u8> {
    let unused = bits.trailing_zeros().min(15);
    let [high, low] = bits.to_be_bytes();
    if unused >= 8 {
        write(BIT_STRING, &[(unused - 8) as u8, high])
    } else {
        write(BIT_STRING, &[unused as u8, high, low])
    }
}

fn extension(oid: &[u64], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![object_identifier(oid)];
    if critical {
        parts.push(write(BOOLEAN, &[0xff]));
    }
    parts.push(write(OCTET_STRING, value));
    sequence(&parts)
}

/// Years before 2050 in two digits, the others in four (RFC 5280, 4.1.2.5).
fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_zoned(TimeZone::UTC);
    if at.year() < 2050 {
        write(
            UTC_TIME,
            at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes(),
        )
    } else {
        write(
            GENERALIZED_TIME,
            at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa};

    #[test]
    fn what_is_signed_is_what_was_asked_for_and_no_more() {
        let now = Timestamp::now();
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ] {
            let ca_key = KeyPair::generate_for(algorithm).unwrap();
            let mut ca = CertificateParams::new(Vec::new()).unwrap();
            ca.distinguished_name.push(DnType::CommonName, "kubernetes");
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
            let authority = Authority::new(&ca_pem, &ca_key.serialize_pem()).unwrap();

            let mut asked = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
            asked
                .distinguished_name
                .push(DnType::CommonName, "system:node:n1");
            asked
                .distinguished_name
                .push(DnType::OrganizationName, "system:nodes");
            asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = asked
                .serialize_request(&KeyPair::generate().unwrap())
                .unwrap()
                .pem()
                .unwrap();
            let request = Request::parse(pem.as_bytes()).unwrap();
            assert_eq!(request.common_name, "system:node:n1");
            assert_eq!(request.organizations, ["system:nodes"]);
            assert_eq!(request.dns_names, 1);

            let usages =
                ["digital signature", "key encipherment", "server auth"].map(str::to_owned);
            let hour = SignedDuration::from_hours(1);
            let pem = authority
                .sign(&request, &usages, hour, [0xff; 16], now)
                .unwrap();
            assert_eq!(
                not_after(pem.as_bytes()).unwrap().as_second(),
                (now + hour).as_second()
            );
            let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
            let (_, signed) = X509Certificate::from_der(&pem.contents).unwrap();
            let (_, ca) = parse_x509_pem(ca_pem.as_bytes()).unwrap();
            let (_, ca) = X509Certificate::from_der(&ca.contents).unwrap();
            signed.verify_signature(Some(ca.public_key())).unwrap();
            assert_eq!(signed.issuer(), ca.subject());
            assert!(!signed.is_ca());
            let usage = signed.key_usage().unwrap().unwrap().value;
            assert!(
                usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign()
            );
            let purposes = signed.extended_key_usage().unwrap().unwrap().value;
            assert!(purposes.server_auth && !purposes.client_auth);
            assert!(signed.subject_alternative_name().unwrap().is_some());

            let forever = SignedDuration::from_hours(24 * 365 * 10_000);
            let limit = authority
                .sign(
                    &request,
                    &usages,
                    forever.min(SignedDuration::from_hours(24 * 365 * 5000)),
                    [1; 16],
                    now,
                )
                .unwrap();
            assert!(not_after(limit.as_bytes()).unwrap() <= authority.not_after);
            assert!(
                authority
                    .sign(&request, &["magic".to_owned()], hour, [1; 16], now)
                    .is_err()
            );
        }
        assert!(Request::parse(b"nonsense").is_err());
    }
}
