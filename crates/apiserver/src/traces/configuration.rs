//! `TracingConfiguration` (`apiserver.config.k8s.io`), read and checked.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde::Deserialize;

use crate::component_config;

/// OTLP's own port.
const DEFAULT_ENDPOINT: &str = "localhost:4317";
const MILLION: i32 = 1_000_000;
const SCHEMES: [&str; 3] = ["dns", "unix", "unix-abstract"];

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read as one.
    #[error("unable to decode tracing configuration data: {0}")]
    Decode(String),
    /// It says what cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// Where traces go, and of how many requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingConfiguration {
    #[serde(default)]
    #[expect(dead_code, reason = "checked before the rest is read")]
    api_version: String,
    #[serde(default)]
    #[expect(dead_code, reason = "checked before the rest is read")]
    kind: String,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    sampling_rate_per_million: Option<i32>,
}

/// Where a collector listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Host and port.
    Address(String),
    /// A Unix socket, `@name` an abstract one.
    Socket(String),
}

impl TracingConfiguration {
    /// Reads a file's contents.
    pub fn parse(contents: &str) -> Result<Self, ConfigurationError> {
        let configuration: Self = component_config::parse(contents, "TracingConfiguration")
            .map_err(ConfigurationError::Decode)?;
        let errors = configuration.validate();
        let complaints: Vec<String> = errors.iter().map(ToString::to_string).collect();
        match complaints.as_slice() {
            [] => Ok(configuration),
            [one] => Err(ConfigurationError::Invalid(one.clone())),
            many => Err(ConfigurationError::Invalid(format!(
                "[{}]",
                many.join(", ")
            ))),
        }
    }

    fn validate(&self) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = Path::new("tracing");
        if let Some(rate) = self.sampling_rate_per_million {
            let path = root.child("samplingRatePerMillion");
            if rate < 0 {
                let detail = "sampling rate must be positive";
                errors.push(FieldError::invalid(&path, rate, detail));
            }
            if rate > MILLION {
                let detail = "sampling rate per million must be less than or equal to one million";
                errors.push(FieldError::invalid(&path, rate, detail));
            }
        }
        if let Some(endpoint) = &self.endpoint
            && let Some((scheme, _)) = endpoint.split_once("://")
            && !SCHEMES.contains(&scheme)
        {
            let detail = format!(
                "unsupported scheme: {scheme}.  Options are none, dns, unix, or unix-abstract.  See https://github.com/grpc/grpc/blob/master/doc/naming.md"
            );
            let path = root.child("endpoint");
            errors.push(FieldError::invalid(&path, endpoint.as_str(), detail));
        }
        errors
    }

    pub(super) fn per_million(&self) -> u64 {
        let rate = self.sampling_rate_per_million.unwrap_or(0);
        u64::try_from(rate).unwrap_or(0)
    }

    /// By gRPC's naming of endpoints.
    pub(super) fn endpoint(&self) -> Endpoint {
        let endpoint = self.endpoint.as_deref().filter(|one| !one.is_empty());
        let endpoint = endpoint.unwrap_or(DEFAULT_ENDPOINT);
        let after = |scheme: &str| {
            let rest = endpoint.strip_prefix(scheme)?.strip_prefix(':')?;
            Some(rest.strip_prefix("//").unwrap_or(rest))
        };
        if let Some(path) = after("unix") {
            return Endpoint::Socket(path.to_owned());
        }
        if let Some(name) = after("unix-abstract") {
            return Endpoint::Socket(format!("@{name}"));
        }
        // `dns://resolver/host:port`: whom to ask for the name is the system's choice.
        let address = after("dns").map_or(endpoint, |rest| {
            rest.split_once('/').map_or(rest, |(_, address)| address)
        });
        Endpoint::Address(address.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<TracingConfiguration, String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";
        TracingConfiguration::parse(&format!("{head}{rest}")).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoints_are_named_as_grpc_names_them() {
        for (endpoint, expected) in [
            ("", Endpoint::Address("localhost:4317".to_owned())),
            (
                "collector:4317",
                Endpoint::Address("collector:4317".to_owned()),
            ),
            ("dns:///c:1", Endpoint::Address("c:1".to_owned())),
            ("dns://1.2.3.4/c:1", Endpoint::Address("c:1".to_owned())),
            (
                "unix:///run/c.sock",
                Endpoint::Socket("/run/c.sock".to_owned()),
            ),
            ("unix-abstract:c", Endpoint::Socket("@c".to_owned())),
        ] {
            let parsed = parse(&format!("endpoint: \"{endpoint}\"")).unwrap();
            assert_eq!(parsed.endpoint(), expected, "{endpoint}");
        }
        assert_eq!(parse("samplingRatePerMillion: 7").unwrap().per_million(), 7);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (rest, expected) in [
            (
                "samplingRatePerMillion: -1",
                "tracing.samplingRatePerMillion: Invalid value: -1: sampling rate must be positive",
            ),
            (
                "samplingRatePerMillion: 1000001",
                "tracing.samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than or equal to one million",
            ),
            (
                "endpoint: http://c:1",
                "tracing.endpoint: Invalid value: \"http://c:1\": unsupported scheme: http.  Options",
            ),
            (
                "sampling: 1",
                "unable to decode tracing configuration data: ",
            ),
        ] {
            let error = parse(rest).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(TracingConfiguration::parse("kind: Other").is_err());
    }
}
