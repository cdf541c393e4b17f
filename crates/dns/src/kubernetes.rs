//! kubernetes: answers for the cluster's domain and for the reverse names of its Services, from informers.

use std::net::IpAddr;

use async_trait::async_trait;
use client::{Informer, Object as _};
use hickory_proto::{
    op::ResponseCode,
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{CNAME, PTR, SOA, SRV, TXT},
    },
};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};

use crate::{
    plugin::{Answer, Plugin, Question},
    zone::{self, EndpointView, Found, PortView, ServiceView, View},
};

/// Life of answers in seconds, as kubeadm configures CoreDNS.
const TTL_SECONDS: u32 = 30;
/// The label that ties a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Index of slices by namespace and Service.
const BY_SERVICE: &str = "service";
/// Index of Services by cluster IP, and of slices by endpoint address.
const BY_ADDRESS: &str = "address";
/// What `dns-version.<domain>` says: the version of the specification.
const SPECIFICATION: &str = "1.1.0";

/// The cluster's zone.
pub(crate) struct Kubernetes {
    domain: LowerName,
    domain_text: String,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    namespaces: Informer<Namespace>,
}

impl Kubernetes {
    /// The zone `domain`, as these informers see it.
    pub(crate) fn new(
        domain: &str,
        services: Informer<Service>,
        slices: Informer<EndpointSlice>,
        namespaces: Informer<Namespace>,
    ) -> Result<Self, hickory_proto::ProtoError> {
        slices.add_index(BY_SERVICE, |slice: &EndpointSlice| {
            slice
                .label(SERVICE_NAME_LABEL)
                .map(|s| format!("{}/{s}", slice.namespace()))
                .into_iter()
                .collect()
        });
        slices.add_index(BY_ADDRESS, |slice: &EndpointSlice| {
            slice
                .endpoints
                .iter()
                .flatten()
                .flat_map(|e| e.addresses.clone())
                .collect()
        });
        services.add_index(BY_ADDRESS, |service: &Service| {
            service
                .spec
                .iter()
                .flat_map(|spec| spec.cluster_ips.clone().unwrap_or_default())
                .collect()
        });
        let domain_text = domain.trim_end_matches('.').to_ascii_lowercase();
        let domain = LowerName::from(Name::from_ascii(format!("{domain_text}."))?);
        Ok(Self {
            domain,
            domain_text,
            services,
            slices,
            namespaces,
        })
    }

    fn forward(&self, question: &Question) -> Answer {
        let name = Name::from(&question.name);
        let all: Vec<String> = name
            .iter()
            .map(|label| String::from_utf8_lossy(label).into_owned())
            .collect();
        let below = all
            .len()
            .saturating_sub(Name::from(&self.domain).iter().count());
        let labels: Vec<&str> = all[..below].iter().map(String::as_str).collect();
        if labels == ["dns-version"] {
            let text = RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()]));
            return self.answered(
                records(&name, question.record_type, RecordType::TXT, [text]),
                Vec::new(),
            );
        }
        match zone::look_up(&labels, self) {
            None => self.nothing(ResponseCode::NXDomain),
            Some(Found::Empty) if labels.is_empty() && question.record_type == RecordType::SOA => {
                self.answered(vec![self.soa()], Vec::new())
            }
            Some(Found::Empty) => self.nothing(ResponseCode::NoError),
            Some(Found::Addresses(addresses)) => self.answered(
                addresses_of(&name, question.record_type, &addresses),
                Vec::new(),
            ),
            Some(Found::Alias(alias)) => {
                match Name::from_ascii(format!("{}.", alias.trim_end_matches('.'))) {
                    Ok(alias) => {
                        let record =
                            Record::from_rdata(name, TTL_SECONDS, RData::CNAME(CNAME(alias)));
                        self.answered(vec![record], Vec::new())
                    }
                    Err(_) => self.nothing(ResponseCode::ServFail),
                }
            }
            Some(Found::Services(services)) if question.record_type == RecordType::SRV => {
                self.srv(&name, &labels, services)
            }
            Some(Found::Services(_)) => self.nothing(ResponseCode::NoError),
        }
    }

    fn srv(
        &self,
        name: &Name,
        labels: &[&str],
        services: Vec<(String, u16, Vec<IpAddr>)>,
    ) -> Answer {
        let weight = u16::try_from(100 / services.len().max(1))
            .unwrap_or(1)
            .max(1);
        let service = labels[2..].join(".");
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for (label, port, addresses) in services {
            let dot = if label.is_empty() { "" } else { "." };
            let target = format!("{label}{dot}{service}.{}.", self.domain_text);
            let Ok(target) = Name::from_ascii(target) else {
                continue;
            };
            for address in addresses {
                additionals.push(Record::from_rdata(
                    target.clone(),
                    TTL_SECONDS,
                    RData::from(address),
                ));
            }
            let srv = RData::SRV(SRV::new(0, weight, port, target));
            answers.push(Record::from_rdata(name.clone(), TTL_SECONDS, srv));
        }
        self.answered(answers, additionals)
    }

    /// Names of an address: of the Service that has it, or of the endpoints of headless Services.
    fn reverse(&self, address: IpAddr) -> Vec<String> {
        let text = address.to_string();
        let of_services = self
            .services
            .store()
            .by_index(BY_ADDRESS, &text)
            .into_iter()
            .map(|service| {
                format!(
                    "{}.{}.svc.{}.",
                    service.name(),
                    service.namespace(),
                    self.domain_text
                )
            });
        let mut names: Vec<String> = of_services.collect();
        if names.is_empty() {
            for slice in self.slices.store().by_index(BY_ADDRESS, &text) {
                let Some(service) = slice.label(SERVICE_NAME_LABEL) else {
                    continue;
                };
                let (namespace, domain) = (slice.namespace(), &self.domain_text);
                names.extend(
                    endpoints(&slice)
                        .filter(|e| e.address == address)
                        .map(|endpoint| {
                            format!("{}.{service}.{namespace}.svc.{domain}.", endpoint.label())
                        }),
                );
            }
        }
        names
    }

    fn answered(&self, answers: Vec<Record>, additionals: Vec<Record>) -> Answer {
        if answers.is_empty() {
            return self.nothing(ResponseCode::NoError);
        }
        Answer {
            authoritative: true,
            answers,
            additionals,
            ..Answer::empty(ResponseCode::NoError)
        }
    }

    fn nothing(&self, code: ResponseCode) -> Answer {
        Answer {
            authoritative: true,
            soa: vec![self.soa()],
            ..Answer::empty(code)
        }
    }

    fn soa(&self) -> Record {
        let domain = Name::from(&self.domain);
        let of = |label: &str| Name::from_ascii(label).and_then(|l| l.append_domain(&domain));
        let (server, mailbox) = (of("ns.dns"), of("hostmaster"));
        let soa = SOA::new(
            server.unwrap_or_else(|_| domain.clone()),
            mailbox.unwrap_or_else(|_| domain.clone()),
            1,
            7200,
            1800,
            86400,
            TTL_SECONDS,
        );
        Record::from_rdata(domain, TTL_SECONDS, RData::SOA(soa))
    }
}

#[async_trait]
impl Plugin for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn answer(&self, question: &Question) -> Option<Answer> {
        if self.domain.zone_of(&question.name) {
            return Some(self.forward(question));
        }
        let text = question.name.to_string();
        let labels: Vec<&str> = text.trim_end_matches('.').split('.').collect();
        let names = self.reverse(zone::reverse_address(&labels)?);
        if names.is_empty() {
            return None;
        }
        let name = Name::from(&question.name);
        let pointers = names
            .iter()
            .filter_map(|n| Some(RData::PTR(PTR(Name::from_ascii(n).ok()?))));
        Some(self.answered(
            records(&name, question.record_type, RecordType::PTR, pointers),
            Vec::new(),
        ))
    }
}

fn records(
    name: &Name,
    asked: RecordType,
    have: RecordType,
    data: impl IntoIterator<Item = RData>,
) -> Vec<Record> {
    if asked != have && asked != RecordType::ANY {
        return Vec::new();
    }
    data.into_iter()
        .map(|data| Record::from_rdata(name.clone(), TTL_SECONDS, data))
        .collect()
}

fn addresses_of(name: &Name, asked: RecordType, addresses: &[IpAddr]) -> Vec<Record> {
    let of_type = |address: &&IpAddr| match asked {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    };
    let records = addresses.iter().filter(of_type);
    records
        .map(|address| Record::from_rdata(name.clone(), TTL_SECONDS, RData::from(*address)))
        .collect()
}

impl View for Kubernetes {
    fn service(&self, namespace: &str, name: &str) -> Option<ServiceView> {
        let service = self.services.store().get(namespace, name)?;
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") {
            return Some(ServiceView {
                external_name: spec.external_name.clone(),
                ..Default::default()
            });
        }
        let cluster_ips: Vec<IpAddr> = spec
            .cluster_ips
            .iter()
            .flatten()
            .filter_map(|ip| ip.parse().ok())
            .collect();
        let ports = spec.ports.iter().flatten().map(|port| PortView {
            name: port.name.clone().unwrap_or_default(),
            protocol: port
                .protocol
                .as_deref()
                .unwrap_or("TCP")
                .to_ascii_lowercase(),
            number: u16::try_from(port.port).unwrap_or(0),
        });
        let ports = ports.collect();
        let mut found = Vec::new();
        if cluster_ips.is_empty() {
            let publish_all = spec.publish_not_ready_addresses.unwrap_or(false);
            for slice in self
                .slices
                .store()
                .by_index(BY_SERVICE, &format!("{namespace}/{name}"))
            {
                found.extend(endpoints_if(&slice, publish_all));
            }
            found.sort_by_key(|endpoint| endpoint.address);
            found.dedup();
        }
        Some(ServiceView {
            cluster_ips,
            external_name: None,
            ports,
            endpoints: found,
        })
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.store().get("", name).is_some()
    }
}

fn endpoints(slice: &EndpointSlice) -> impl Iterator<Item = EndpointView> {
    endpoints_if(slice, false)
}

fn endpoints_if(slice: &EndpointSlice, not_ready_too: bool) -> impl Iterator<Item = EndpointView> {
    let ports: Vec<PortView> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            Some(PortView {
                name: port.name.clone().unwrap_or_default(),
                protocol: port
                    .protocol
                    .as_deref()
                    .unwrap_or("TCP")
                    .to_ascii_lowercase(),
                number: u16::try_from(port.port?).ok()?,
            })
        })
        .collect();
    let is_ready = move |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        not_ready_too
            || endpoint
                .conditions
                .as_ref()
                .and_then(|c| c.ready)
                .unwrap_or(true)
    };
    slice
        .endpoints
        .iter()
        .flatten()
        .filter(is_ready)
        .flat_map(move |endpoint| {
            let ports = ports.clone();
            endpoint.addresses.iter().filter_map(move |address| {
                Some(EndpointView {
                    address: address.parse().ok()?,
                    hostname: endpoint.hostname.clone(),
                    ports: ports.clone(),
                })
            })
        })
}
