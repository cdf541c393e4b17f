//! Flags of upstream's that change nothing here. They are taken, so that manifests written for upstream start, and named in one line of the log,
//! so that nobody relies on them.

use std::marker::PhantomData;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind,
    parser::ValueSource,
};

/// Flags that several components have.
pub(crate) struct Shared {
    switches: &'static [&'static str],
    settings: &'static [&'static str],
}

/// Logs beyond their verbosity, feature gates, versions, which metrics are shown.
const COMMON: Shared = Shared {
    switches: &["log-json-split-stream", "log-text-split-stream"],
    settings: &[
        "allow-metric-labels",
        "allow-metric-labels-manifest",
        "disabled-metrics",
        "emulated-version",
        "feature-gates",
        "log-flush-frequency",
        "log-json-info-buffer-size",
        "log-text-info-buffer-size",
        "logging-format",
        "min-compatibility-version",
        "show-hidden-metrics-for-version",
        "vmodule",
    ],
};

/// How a secure port is served.
pub(crate) const SERVING: Shared = Shared {
    switches: &[
        "disable-http2-serving",
        "permit-address-sharing",
        "permit-port-sharing",
    ],
    settings: &[
        "http2-max-streams-per-connection",
        "tls-cipher-suites",
        "tls-curve-preferences",
        "tls-sni-cert-key",
    ],
};

/// How the API server is asked who may come in.
pub(crate) const DELEGATION: Shared = Shared {
    switches: &["authentication-tolerate-lookup-failure"],
    settings: &[],
};

/// How fast and in which encoding the API is asked.
pub(crate) const API_CLIENT: Shared = Shared {
    switches: &[],
    settings: &["kube-api-burst", "kube-api-content-type", "kube-api-qps"],
};

/// Which flags those are.
pub(crate) trait Table: std::fmt::Debug {
    /// Groups of them.
    const SHARED: &'static [Shared];
    /// Those that need no value.
    const SWITCHES: &'static [&'static str];
    /// Those that need one.
    const SETTINGS: &'static [&'static str];
    /// Those that ask for what is not here, and what is said to who gives one.
    const REFUSED: &'static [(&'static str, &'static str)] = &[];
}

fn switches<T: Table>() -> impl Iterator<Item = &'static str> {
    let shared = T::SHARED.iter().chain([&COMMON]);
    shared
        .flat_map(|shared| shared.switches)
        .chain(T::SWITCHES)
        .copied()
}

fn settings<T: Table>() -> impl Iterator<Item = &'static str> {
    let shared = T::SHARED.iter().chain([&COMMON]);
    shared
        .flat_map(|shared| shared.settings)
        .chain(T::SETTINGS)
        .copied()
}

/// Those of a table that were given; and how much is logged, which is said here because every component can be told.
#[derive(Clone, Debug)]
pub(crate) struct WithoutEffect<T> {
    given: Vec<&'static str>,
    verbosity: Option<i32>,
    table: PhantomData<T>,
}

impl<T: Table> WithoutEffect<T> {
    /// Says which were given, and logs as much as was asked for.
    pub(crate) fn report(&self) {
        let asked = std::env::var_os(base::logging::VARIABLE).is_none();
        if let Some(verbosity) = self.verbosity.filter(|_| asked)
            && let Err(error) = base::logging::set_verbosity(verbosity)
        {
            tracing::warn!(error, "the verbosity of logs cannot be set");
        }
        if !self.given.is_empty() {
            let flags: Vec<String> = self.given.iter().map(|name| format!("--{name}")).collect();
            tracing::info!(flags = flags.join(" "), "no effect here");
        }
    }

    /// Which were given.
    #[cfg(test)]
    pub(crate) fn given(&self) -> &[&'static str] {
        &self.given
    }
}

impl<T: Table> Args for WithoutEffect<T> {
    fn augment_args(command: Command) -> Command {
        let verbosity = Arg::new("v")
            .long("v")
            .short('v')
            .help("How much is logged, as klog counts: up to 2 is info, up to 5 debug")
            .value_parser(clap::value_parser!(i32).range(0..));
        let switches = switches::<T>().map(|name| {
            Arg::new(name)
                .long(name)
                .hide(true)
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(clap::value_parser!(bool))
        });
        let refused = T::REFUSED.iter().map(|(name, _)| *name);
        let settings = settings::<T>().chain(refused).map(|name| {
            Arg::new(name)
                .long(name)
                .hide(true)
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
        });
        command.arg(verbosity).args(switches).args(settings)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Table> FromArgMatches for WithoutEffect<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
        if let Some((name, why)) = T::REFUSED.iter().find(|(name, _)| given(name)) {
            let message = format!("--{name}: {why}\n");
            return Err(clap::Error::raw(ErrorKind::ValueValidation, message));
        }
        Ok(Self {
            given: switches::<T>()
                .chain(settings::<T>())
                .filter(given)
                .collect(),
            verbosity: matches.get_one("v").copied(),
            table: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
