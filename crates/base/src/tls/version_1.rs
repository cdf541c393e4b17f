//! Client certificates of X.509's first version, which have no extensions. `openssl x509 -req` makes them up to OpenSSL 3.1 where it is not
//! told otherwise, as many instructions for users' certificates do. webpki refuses them; upstream takes them.

use rustls::{
    CertificateError, DigitallySignedStruct, Error,
    client::danger::HandshakeSignatureValid,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::{
    asn1_rs::Any,
    prelude::{ASN1Time, FromDer as _, X509Certificate, X509Version},
};

/// The certificate, if it is of the first version.
pub(super) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    (parsed.version() == X509Version::V1).then_some(parsed)
}

/// Checks that a handshake of TLS 1.2 was signed with the certificate's key, by the rules of webpki: the scheme is one of those of
/// `algorithms`, and fits the key.
pub(super) fn verify_tls12_signature(
    message: &[u8],
    certificate: &X509Certificate<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = certificate.public_key();
    // A key's first member names its algorithm; webpki compares it without its header.
    let of_key = Any::from_der(key.raw).and_then(|(_, members)| Any::from_der(members.data));
    let of_key = of_key.ok().map(|(_, of_key)| of_key);
    let of_scheme = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signature.scheme)
        .flat_map(|(_, all)| all.iter());
    for algorithm in of_scheme {
        let is_key_of = of_key
            .as_ref()
            .is_some_and(|of_key| of_key.data == algorithm.public_key_alg_id().as_ref());
        if is_key_of
            && algorithm
                .verify_signature(&key.subject_public_key.data, message, signature.signature())
                .is_ok()
        {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(CertificateError::BadSignature.into())
}

/// Checks that one of `authorities` has signed the certificate itself, and that both are valid `now`.
pub(super) fn verify_chain(
    certificate: &X509Certificate<'_>,
    authorities: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| CertificateError::BadEncoding)?;
    valid_at(certificate, now)?;
    for authority in authorities {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else {
            continue;
        };
        let may_sign = authority.version() == X509Version::V1
            || (authority.is_ca()
                && authority
                    .key_usage()
                    .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign())));
        if may_sign
            && authority.subject().as_raw() == certificate.issuer().as_raw()
            && certificate
                .verify_signature(Some(authority.public_key()))
                .is_ok()
        {
            return valid_at(&authority, now);
        }
    }
    Err(CertificateError::UnknownIssuer.into())
}

fn valid_at(certificate: &X509Certificate<'_>, now: ASN1Time) -> Result<(), Error> {
    let validity = certificate.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
