//! The names below the cluster's domain. Pure: a name's labels and a [`View`] of the API give the records.
//!
//! ```text
//! <service>.<ns>.svc                       A, AAAA: cluster IPs, or the addresses of a headless Service's endpoints; CNAME
//! <endpoint>.<service>.<ns>.svc            A, AAAA: one endpoint, by its hostname or its address with dashes
//! _<port>._<protocol>.<service>.<ns>.svc   SRV
//! <a-b-c-d>.<ns>.pod                       A, AAAA: the address in the name
//! ```

use std::net::IpAddr;

/// What the zone knows of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceView {
    /// Empty for a headless Service.
    pub(crate) cluster_ips: Vec<IpAddr>,
    /// Of a Service of that type.
    pub(crate) external_name: Option<String>,
    /// Name, protocol in lower case, number.
    pub(crate) ports: Vec<PortView>,
    /// Of a headless Service: the endpoints that may be found.
    pub(crate) endpoints: Vec<EndpointView>,
}

/// A port of a Service or of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortView {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: u16,
}

/// An endpoint of a headless Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointView {
    pub(crate) address: IpAddr,
    pub(crate) hostname: Option<String>,
    pub(crate) ports: Vec<PortView>,
}

impl EndpointView {
    /// Its label: the hostname, or the address with dashes.
    pub(crate) fn label(&self) -> String {
        self.hostname
            .clone()
            .unwrap_or_else(|| dashed(self.address))
    }
}

/// What the zone reads.
pub(crate) trait View {
    fn service(&self, namespace: &str, name: &str) -> Option<ServiceView>;
    fn has_namespace(&self, name: &str) -> bool;
}

/// What a name stands for, whatever type was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Addresses; each sort of record takes those that fit.
    Addresses(Vec<IpAddr>),
    /// Another name, outside of the zone.
    Alias(String),
    /// Services at ports: label below the Service (empty for the Service itself), port, addresses of that label.
    Services(Vec<(String, u16, Vec<IpAddr>)>),
    /// A name with names below it, but without records of its own.
    Empty,
}

/// Looks up a name by its labels below the cluster domain, the leftmost first. `None`: no such name.
pub(crate) fn look_up(labels: &[&str], view: &impl View) -> Option<Found> {
    match labels {
        [] | ["svc"] | ["pod"] => Some(Found::Empty),
        [namespace, "svc" | "pod"] => view.has_namespace(namespace).then_some(Found::Empty),
        [address, namespace, "pod"] => {
            let address = undashed(address)?;
            view.has_namespace(namespace)
                .then(|| Found::Addresses(vec![address]))
        }
        [name, namespace, "svc"] => service(&view.service(namespace, name)?),
        [endpoint, name, namespace, "svc"] => {
            let service = view.service(namespace, name)?;
            if let Some(protocol) = endpoint.strip_prefix('_') {
                return service
                    .ports
                    .iter()
                    .any(|p| p.protocol == protocol)
                    .then_some(Found::Empty);
            }
            let addresses: Vec<IpAddr> = service
                .endpoints
                .iter()
                .filter(|candidate| candidate.label() == *endpoint)
                .map(|found| found.address)
                .collect();
            (!addresses.is_empty()).then_some(Found::Addresses(addresses))
        }
        [port, protocol, name, namespace, "svc"] => {
            let service = view.service(namespace, name)?;
            ports(
                &service,
                port.strip_prefix('_')?,
                protocol.strip_prefix('_')?,
            )
        }
        _ => None,
    }
}

fn service(service: &ServiceView) -> Option<Found> {
    if let Some(alias) = &service.external_name {
        return Some(Found::Alias(alias.clone()));
    }
    if !service.cluster_ips.is_empty() {
        return Some(Found::Addresses(service.cluster_ips.clone()));
    }
    // A headless Service without endpoints is a name that does not exist (yet): clients ask again sooner.
    let addresses: Vec<IpAddr> = service.endpoints.iter().map(|e| e.address).collect();
    (!addresses.is_empty()).then_some(Found::Addresses(addresses))
}

fn ports(service: &ServiceView, port: &str, protocol: &str) -> Option<Found> {
    let is_wanted = |p: &&PortView| p.name == port && p.protocol == protocol;
    let found: Vec<(String, u16, Vec<IpAddr>)> = if service.cluster_ips.is_empty() {
        service
            .endpoints
            .iter()
            .flat_map(|endpoint| {
                let ports = endpoint.ports.iter().filter(is_wanted);
                ports.map(|p| (endpoint.label(), p.number, vec![endpoint.address]))
            })
            .collect()
    } else {
        let ports = service.ports.iter().filter(is_wanted);
        ports
            .map(|p| (String::new(), p.number, service.cluster_ips.clone()))
            .collect()
    };
    (!found.is_empty()).then_some(Found::Services(found))
}

/// `10.1.2.3` as `10-1-2-3`, `fd00::1` as `fd00--1`.
pub(crate) fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn undashed(label: &str) -> Option<IpAddr> {
    label
        .replace('-', ".")
        .parse()
        .or_else(|_| label.replace('-', ":").parse())
        .ok()
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
pub(crate) fn reverse_address(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        [octets @ .., "in-addr", "arpa"] if octets.len() == 4 => {
            let mut bytes = [0; 4];
            for (byte, octet) in bytes.iter_mut().rev().zip(octets) {
                *byte = octet.parse().ok()?;
            }
            Some(IpAddr::from(bytes))
        }
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let mut number = 0_u128;
            for nibble in nibbles.iter().rev() {
                let digit = nibble
                    .chars()
                    .next()
                    .filter(|_| nibble.len() == 1)?
                    .to_digit(16)?;
                number = number << 4 | u128::from(digit);
            }
            Some(IpAddr::from(number.to_be_bytes()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Fixed(BTreeMap<&'static str, ServiceView>);

    impl View for Fixed {
        fn service(&self, namespace: &str, name: &str) -> Option<ServiceView> {
            (namespace == "default").then(|| self.0.get(name).cloned())?
        }
        fn has_namespace(&self, name: &str) -> bool {
            name == "default"
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn http(number: u16) -> Vec<PortView> {
        vec![PortView {
            name: "http".to_owned(),
            protocol: "tcp".to_owned(),
            number,
        }]
    }

    fn view() -> Fixed {
        let endpoint = |address, hostname: Option<&str>| EndpointView {
            address: ip(address),
            hostname: hostname.map(str::to_owned),
            ports: http(8080),
        };
        Fixed(BTreeMap::from([
            (
                "web",
                ServiceView {
                    cluster_ips: vec![ip("10.96.0.7")],
                    ports: http(80),
                    ..Default::default()
                },
            ),
            (
                "db",
                ServiceView {
                    endpoints: vec![
                        endpoint("10.244.0.5", Some("db-0")),
                        endpoint("10.244.0.6", None),
                    ],
                    ports: http(80),
                    ..Default::default()
                },
            ),
            (
                "ext",
                ServiceView {
                    external_name: Some("example.com".to_owned()),
                    ..Default::default()
                },
            ),
            ("none", ServiceView::default()),
        ]))
    }

    fn find(name: &str) -> Option<Found> {
        let labels: Vec<&str> = name.split('.').collect();
        look_up(&labels, &view())
    }

    #[test]
    fn names_of_the_specification() {
        let addresses =
            |list: &[&str]| Some(Found::Addresses(list.iter().map(|a| ip(a)).collect()));
        for (name, expected) in [
            ("web.default.svc", addresses(&["10.96.0.7"])),
            ("db.default.svc", addresses(&["10.244.0.5", "10.244.0.6"])),
            ("db-0.db.default.svc", addresses(&["10.244.0.5"])),
            ("10-244-0-6.db.default.svc", addresses(&["10.244.0.6"])),
            ("10-244-0-5.db.default.svc", None),
            (
                "ext.default.svc",
                Some(Found::Alias("example.com".to_owned())),
            ),
            ("none.default.svc", None),
            ("absent.default.svc", None),
            ("web.other.svc", None),
            ("default.svc", Some(Found::Empty)),
            ("other.svc", None),
            ("_tcp.web.default.svc", Some(Found::Empty)),
            ("1-2-3-4.default.pod", addresses(&["1.2.3.4"])),
            ("fd00--1.default.pod", addresses(&["fd00::1"])),
            ("1-2-3.default.pod", None),
            (
                "_http._tcp.web.default.svc",
                Some(Found::Services(vec![(
                    String::new(),
                    80,
                    vec![ip("10.96.0.7")],
                )])),
            ),
            (
                "_http._tcp.db.default.svc",
                Some(Found::Services(vec![
                    ("db-0".to_owned(), 8080, vec![ip("10.244.0.5")]),
                    ("10-244-0-6".to_owned(), 8080, vec![ip("10.244.0.6")]),
                ])),
            ),
            ("_http._udp.web.default.svc", None),
        ] {
            assert_eq!(find(name), expected, "{name}");
        }
    }

    #[test]
    fn reverse_names() {
        let parse = |name: &str| reverse_address(&name.split('.').collect::<Vec<_>>());
        assert_eq!(parse("7.0.96.10.in-addr.arpa"), Some(ip("10.96.0.7")));
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(parse(v6), Some(ip("fd00::1")));
        assert_eq!(parse("300.0.96.10.in-addr.arpa"), None);
        assert_eq!(parse("0.96.10.in-addr.arpa"), None);
    }
}
