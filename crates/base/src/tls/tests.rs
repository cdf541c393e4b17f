//! Handshakes over an in-memory pipe: who is let in, what is refused, and that certificates change under a running server.

use rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A self-signed certificate for `name`, and its key.
fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// What the client sees of the server's certificate, and the server of the client's.
async fn handshake(
    server: &Arc<ServingCertificate>,
    client: rustls::ClientConfig,
    name: &'static str,
) -> Result<(Vec<u8>, Option<Vec<u8>>), std::io::Error> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = TlsAcceptor::from(server.server_config().unwrap());
    let connector = TlsConnector::from(Arc::new(client));
    let connecting = connector.connect(ServerName::try_from(name).unwrap(), near);
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connecting);
    let connected = connected?;
    let shown = |certificates: Option<&[CertificateDer<'_>]>| {
        certificates.and_then(|all| all.first().map(|first| first.to_vec()))
    };
    let seen = shown(connected.get_ref().1.peer_certificates()).unwrap();
    Ok((seen, shown(accepted?.get_ref().1.peer_certificates())))
}

#[tokio::test]
async fn a_server_is_taken_if_its_authority_is_trusted_and_the_name_is_its_own() {
    let (pem, key) = certificate("one.test");
    let (other, _) = certificate("one.test");
    let server = Arc::new(ServingCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let trusting =
        |bundle: &str| client_config(Trust::Authorities(bundle.as_bytes()), None).unwrap();

    assert!(handshake(&server, trusting(&pem), "one.test").await.is_ok());
    assert!(
        handshake(&server, trusting(&pem), "two.test")
            .await
            .is_err()
    );
    assert!(
        handshake(&server, trusting(&other), "one.test")
            .await
            .is_err()
    );
    let careless = client_config(Trust::Anything, None).unwrap();
    assert!(handshake(&server, careless, "two.test").await.is_ok());
}

#[tokio::test]
async fn the_server_chooses_the_cipher() {
    let (pem, key) = certificate("one.test");
    let server = Arc::new(ServingCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let spoken = async |suites: &[SupportedCipherSuite]| {
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..rustls::crypto::ring::default_provider()
        };
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authorities(pem.as_bytes()).unwrap())
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(1 << 16);
        let acceptor = TlsAcceptor::from(server.server_config().unwrap());
        let name = ServerName::try_from("one.test").unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, near);
        let (accepted, _) = tokio::join!(acceptor.accept(far), connecting);
        let accepted = accepted.unwrap();
        accepted.get_ref().1.negotiated_cipher_suite().unwrap()
    };

    let mut backwards = CIPHER_SUITES;
    backwards.reverse();
    assert_eq!(spoken(&backwards).await, CIPHER_SUITES[0]);
    assert_eq!(spoken(&CIPHER_SUITES[2..]).await, CIPHER_SUITES[2]);
    // A self-signed certificate of `rcgen` has an ECDSA key; this client speaks TLS 1.2 alone.
    assert_eq!(spoken(&backwards[..6]).await, CIPHER_SUITES[3]);
}

#[tokio::test]
async fn any_client_certificate_passes_the_handshake_and_is_seen() {
    let (pem, key) = certificate("one.test");
    let server = Arc::new(ServingCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let (mine, my_key) = certificate("me");
    let identity = Identity {
        certificate: mine.as_bytes(),
        key: my_key.as_bytes(),
    };
    let known = client_config(Trust::Authorities(pem.as_bytes()), Some(identity)).unwrap();
    let (_, seen) = handshake(&server, known, "one.test").await.unwrap();
    assert_eq!(seen, Some(chain(mine.as_bytes()).unwrap()[0].to_vec()));
}

#[tokio::test]
async fn a_certificate_is_replaced_while_serving_and_kept_when_the_new_one_is_bad() {
    let (pem, key) = certificate("one.test");
    let (next, next_key) = certificate("one.test");
    let server = Arc::new(ServingCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let seen = async || {
        let client = client_config(Trust::Anything, None).unwrap();
        handshake(&server, client, "one.test").await.unwrap().0
    };

    server.replace(next.as_bytes(), b"no key").unwrap_err();
    assert_eq!(seen().await, chain(pem.as_bytes()).unwrap()[0].to_vec());
    server
        .replace(next.as_bytes(), next_key.as_bytes())
        .unwrap();
    assert_eq!(seen().await, chain(next.as_bytes()).unwrap()[0].to_vec());
}

#[test]
fn what_is_no_certificate_is_named() {
    let message = |result: Result<ServingCertificate, TlsError>| result.unwrap_err().to_string();
    assert_eq!(
        message(ServingCertificate::from_pem(b"", b"")),
        "certificate in PEM: there is none"
    );
    let (pem, _) = certificate("one.test");
    assert!(
        message(ServingCertificate::from_pem(pem.as_bytes(), b""))
            .starts_with("private key in PEM: ")
    );
    let error = client_config(Trust::Authorities(b"nonsense"), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "certificate authority in PEM: no certificate found"
    );
    let missing = ServingCertificate::read(Path::new("/nonexistent/tls.crt"), Path::new("k"));
    assert!(message(missing).starts_with("cannot read /nonexistent/tls.crt: "));
}

#[tokio::test]
async fn a_client_may_show_a_certificate_of_the_first_version() {
    const AUTHORITY: &[u8] = include_bytes!("testdata/authority.pem");
    const CERTIFICATE: &[u8] = include_bytes!("testdata/version_1.pem");
    const KEY: &[u8] = include_bytes!("testdata/version_1.key");
    let (pem, key) = certificate("one.test");
    let server = Arc::new(ServingCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap());
    let identity = Identity {
        certificate: CERTIFICATE,
        key: KEY,
    };
    let client = client_config(Trust::Authorities(pem.as_bytes()), Some(identity)).unwrap();
    let (_, shown) = handshake(&server, client, "one.test").await.unwrap();
    let shown = CertificateDer::from(shown.unwrap());

    let at = |year: u64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs((year - 1970) * 31_557_600))
    };
    let trusting = client_verifier(AUTHORITY).unwrap();
    assert!(trusting.verify(&shown, &[], at(2030)).is_ok());
    assert!(trusting.verify(&shown, &[], at(2020)).is_err());
    assert!(trusting.verify(&shown, &[], at(2200)).is_err());
    let (other, _) = certificate("authority");
    let other = client_verifier(other.as_bytes()).unwrap();
    assert!(other.verify(&shown, &[], at(2030)).is_err());
    // Another key under the same name has signed nothing.
    let mut forged = shown.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = CertificateDer::from(forged);
    assert!(trusting.verify(&forged, &[], at(2030)).is_err());
}
