//! What kube-controller-manager, kube-scheduler and kube-proxy serve of themselves: the pages of `component_base::Server`, as each upstream
//! component has them.

use apiserver::discovery::Version;
use base::{Clock, metrics::Registry};
use client::LeaderHealthz;
use component_base::{Check, Identity, Server};

use super::flags::command_line::given_flags;

/// A registry that has the process' own metrics.
pub(crate) fn registry() -> Registry {
    let registry = Registry::new();
    base::metrics::process(&registry);
    registry.on_scrape(
        "kubernetes_build_info",
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        "gauge",
        |sink| {
            let document = Version::CURRENT.document();
            let of = |field: &str| {
                let value = document.get(field).and_then(serde_json::Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            sink.sample(
                &[
                    ("build_date", &of("buildDate")),
                    ("compiler", &of("compiler")),
                    ("git_commit", &of("gitCommit")),
                    ("git_tree_state", &of("gitTreeState")),
                    ("git_version", &of("gitVersion")),
                    ("go_version", &of("goVersion")),
                    ("major", &of("major")),
                    ("minor", &of("minor")),
                    ("platform", &of("platform")),
                ],
                1.0,
            );
        },
    );
    registry
}

/// The server of the component of that name, with the flags of this process' command line.
pub(crate) fn server(name: &'static str, metrics: &Registry, clock: &Clock) -> Server {
    Server::new(identity(name, clock), metrics.clone(), clock.clone())
}

/// The component of that name, which starts now with the flags of this process' command line.
pub(crate) fn identity(name: &'static str, clock: &Clock) -> Identity {
    Identity {
        name,
        version: Version::CURRENT.document(),
        started: clock.now(),
        flags: given_flags(std::env::args()),
    }
}

/// The check of a component that stands for election.
pub(crate) fn leader_election(healthz: &LeaderHealthz) -> Check {
    let healthz = healthz.clone();
    Check::new("leaderElection", move || healthz.check())
}
