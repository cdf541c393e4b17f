//! The request for an upgrade, and the answer to it.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// What is spoken after the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// WebSocket whose first byte of a message names the channel.
    WebSocket {
        /// Messages are base64 text, for browsers of old.
        base64: bool,
        /// Version 5: a channel can be closed by the client.
        can_close: bool,
        /// Version 4 and later: the error channel carries a `Status`.
        has_status: bool,
    },
    /// WebSocket that carries one body, from us to the client.
    WebSocketBody {
        /// Messages are base64 text.
        base64: bool,
    },
    /// WebSocket whose messages each are something whole, from us to the client.
    WebSocketMessages,
    /// SPDY in WebSocket messages, for port-forward.
    WebSocketTunnel,
    /// SPDY/3.1.
    Spdy {
        /// Version 4 and later: the error stream carries a `Status`.
        has_status: bool,
    },
}

/// Why a request cannot be upgraded; each is a 400, but that of who does not say where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// It does not ask for one.
    #[error("Upgrade request required")]
    NoUpgrade,
    /// It asks for protocols of which none is spoken here.
    #[error("unable to negotiate protocol: client supports {client:?}, server supports {server:?}")]
    NoProtocol {
        /// The client's.
        client: Vec<String>,
        /// Ours.
        server: Vec<&'static str>,
    },
    /// It does not say which page asks: a 403.
    #[error("null origin")]
    NoOrigin,
    /// It names several protocols, where nothing could choose between them.
    #[error("missing or bad WebSocket-Protocol")]
    ManyProtocols,
    /// The WebSocket handshake is incomplete.
    #[error("missing or bad header: {0}")]
    BadHandshake(&'static str),
}

/// An upgrade that has been agreed on.
pub struct Upgrade {
    /// What will be spoken.
    pub protocol: Protocol,
    /// The answer's head, `101 Switching Protocols`.
    pub response: Response<()>,
}

/// Sub-protocols of exec and attach, the newest first.
const REMOTE_COMMAND_WEBSOCKET: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];
const REMOTE_COMMAND_SPDY: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];
const PORT_FORWARD_WEBSOCKET: &[&str] = &[
    "SPDY/3.1+portforward.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
];
/// Of a body; a client that names none gets it in binary messages.
const BODY_WEBSOCKET: &[&str] = &["binary.k8s.io", "base64.binary.k8s.io"];
const PORT_FORWARD_SPDY: &[&str] = &["portforward.k8s.io"];

/// Names the protocols of a SPDY connection.
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// Whether a request asks for an upgrade.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        })
    };
    headers.get_all(header::CONNECTION).iter().any(asks)
}

/// Whether a request asks for an upgrade to WebSocket.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    wants_upgrade(headers)
        && text(headers, header::UPGRADE.as_str())
            .is_some_and(|to| to.eq_ignore_ascii_case("websocket"))
}

impl Upgrade {
    /// For exec and attach.
    pub fn remote_command(headers: &HeaderMap) -> Result<Self, NegotiationError> {
        Self::negotiate(headers, REMOTE_COMMAND_WEBSOCKET, REMOTE_COMMAND_SPDY)
    }

    /// For port-forward.
    pub fn port_forward(headers: &HeaderMap) -> Result<Self, NegotiationError> {
        Self::negotiate(headers, PORT_FORWARD_WEBSOCKET, PORT_FORWARD_SPDY)
    }

    /// For what is read to its end, such as a log.
    pub fn body(headers: &HeaderMap) -> Result<Self, NegotiationError> {
        Self::negotiate(headers, BODY_WEBSOCKET, &[])
    }

    /// For messages that each are something whole, such as the events of a watch. The client says where it comes from, as browsers do by
    /// themselves; it gets the sub-protocol that it names, whichever that is.
    pub fn messages(headers: &HeaderMap) -> Result<Self, NegotiationError> {
        let key = websocket_key(headers)?;
        if !text(headers, header::ORIGIN.as_str()).is_some_and(is_origin) {
            return Err(NegotiationError::NoOrigin);
        }
        let wanted = listed(headers, "sec-websocket-protocol");
        let mut response = accepting(key);
        match wanted.as_slice() {
            [] => {}
            [one] => insert(&mut response, "sec-websocket-protocol", one),
            _ => return Err(NegotiationError::ManyProtocols),
        }
        Ok(Self {
            protocol: Protocol::WebSocketMessages,
            response,
        })
    }

    fn negotiate(
        headers: &HeaderMap,
        websocket: &[&'static str],
        spdy: &[&'static str],
    ) -> Result<Self, NegotiationError> {
        if !wants_upgrade(headers) {
            return Err(NegotiationError::NoUpgrade);
        }
        match text(headers, header::UPGRADE.as_str())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("websocket") => accept_websocket(headers, websocket),
            Some("spdy/3.1") => accept_spdy(headers, spdy),
            _ => Err(NegotiationError::NoUpgrade),
        }
    }
}

fn accept_websocket(
    headers: &HeaderMap,
    ours: &[&'static str],
) -> Result<Upgrade, NegotiationError> {
    let key = websocket_key(headers)?;
    let wanted = listed(headers, "sec-websocket-protocol");
    // A client that names none speaks the oldest, as upstream has it.
    let chosen = match choose(&wanted, ours) {
        Some(chosen) => Some(chosen),
        None if wanted.is_empty() && (ours.contains(&"channel.k8s.io") || is_body(ours)) => None,
        None => {
            return Err(NegotiationError::NoProtocol {
                client: wanted,
                server: ours.to_vec(),
            });
        }
    };
    let mut response = accepting(key);
    if let Some(chosen) = chosen {
        insert(&mut response, "sec-websocket-protocol", chosen);
    }
    let name = chosen.unwrap_or("channel.k8s.io");
    let protocol = if is_body(ours) {
        Protocol::WebSocketBody {
            base64: name.starts_with("base64."),
        }
    } else if name.starts_with("SPDY/3.1+") {
        Protocol::WebSocketTunnel
    } else {
        Protocol::WebSocket {
            base64: name.contains("base64"),
            can_close: name.starts_with("v5."),
            has_status: name.starts_with("v5.") || name.starts_with("v4."),
        }
    };
    Ok(Upgrade { protocol, response })
}

fn websocket_key(headers: &HeaderMap) -> Result<&str, NegotiationError> {
    let key = text(headers, "sec-websocket-key")
        .ok_or(NegotiationError::BadHandshake("Sec-WebSocket-Key"))?;
    match text(headers, "sec-websocket-version") {
        Some("13") => Ok(key),
        _ => Err(NegotiationError::BadHandshake("Sec-WebSocket-Version")),
    }
}

fn accepting(key: &str) -> Response<()> {
    let mut response = switching("websocket");
    let answer = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    insert(&mut response, "sec-websocket-accept", &answer);
    response
}

/// Whether it is a URI in full, or a path: upstream takes both.
fn is_origin(text: &str) -> bool {
    (text.contains("://") || text.starts_with('/')) && text.parse::<http::Uri>().is_ok()
}

fn is_body(ours: &[&str]) -> bool {
    ours == BODY_WEBSOCKET
}

fn accept_spdy(headers: &HeaderMap, ours: &[&'static str]) -> Result<Upgrade, NegotiationError> {
    let wanted = listed(headers, STREAM_PROTOCOL);
    let chosen = match choose(&wanted, ours) {
        Some(chosen) => chosen,
        // As upstream: old clients name none and speak the first version.
        None if wanted.is_empty() => "",
        None => {
            return Err(NegotiationError::NoProtocol {
                client: wanted,
                server: ours.to_vec(),
            });
        }
    };
    let mut response = switching("SPDY/3.1");
    if !chosen.is_empty() {
        insert(&mut response, STREAM_PROTOCOL, chosen);
    }
    let has_status = chosen.starts_with("v5.") || chosen.starts_with("v4.");
    Ok(Upgrade {
        protocol: Protocol::Spdy { has_status },
        response,
    })
}

fn switching(to: &str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    insert(&mut response, "connection", "Upgrade");
    insert(&mut response, "upgrade", to);
    response
}

fn insert(response: &mut Response<()>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The values of a header that may stand several times and hold several values each. Tokens for authentication are none.
fn listed(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| {
            !value.is_empty() && !value.starts_with("base64url.bearer.authorization.k8s.io.")
        })
        .collect()
}

/// The first of the client's protocols that is ours: the client's order is its preference.
fn choose(wanted: &[String], ours: &[&'static str]) -> Option<&'static str> {
    wanted
        .iter()
        .find_map(|wanted| ours.iter().copied().find(|own| own == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect::<Vec<(http::HeaderName, _)>>()
            .into_iter()
            .collect()
    }

    #[test]
    fn kubectl_gets_version_5_over_websocket() {
        let request = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            (
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.abc, v5.channel.k8s.io",
            ),
        ]);
        let upgrade = Upgrade::remote_command(&request).unwrap();
        assert_eq!(
            upgrade.protocol,
            Protocol::WebSocket {
                base64: false,
                can_close: true,
                has_status: true
            }
        );
        let answer = upgrade.response.headers();
        assert_eq!(
            answer["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "RFC 6455's example"
        );
        assert_eq!(answer["sec-websocket-protocol"], "v5.channel.k8s.io");
    }

    #[test]
    fn spdy_clients_name_versions_in_their_order() {
        let request = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ]);
        let upgrade = Upgrade::remote_command(&request).unwrap();
        assert_eq!(upgrade.protocol, Protocol::Spdy { has_status: true });
        let error = Upgrade::port_forward(&request).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("unable to negotiate protocol"),
            "{error}"
        );
    }

    #[test]
    fn messages_are_for_whoever_says_where_it_comes_from() {
        let asking = |origin: &str, protocols: &str| {
            let request = headers(&[
                ("connection", "Upgrade"),
                ("upgrade", "WebSocket"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-version", "13"),
                ("origin", origin),
                ("sec-websocket-protocol", protocols),
            ]);
            assert!(wants_websocket(&request));
            Upgrade::messages(&request).map(|upgrade| {
                let answer = upgrade.response.headers();
                let chosen = answer.get("sec-websocket-protocol").cloned();
                chosen.map(|chosen| chosen.to_str().unwrap().to_owned())
            })
        };
        assert_eq!(asking("http://x", ""), Ok(None));
        assert_eq!(asking("http://x", "any"), Ok(Some("any".to_owned())));
        assert_eq!(
            asking("http://x", "a, b"),
            Err(NegotiationError::ManyProtocols)
        );
        assert_eq!(asking("", ""), Err(NegotiationError::NoOrigin));
        assert_eq!(asking("null", ""), Err(NegotiationError::NoOrigin));
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        assert_eq!(
            Upgrade::remote_command(&HeaderMap::new()).err(),
            Some(NegotiationError::NoUpgrade)
        );
        let half = headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert!(matches!(
            Upgrade::remote_command(&half).err(),
            Some(NegotiationError::BadHandshake(_))
        ));
    }
}
