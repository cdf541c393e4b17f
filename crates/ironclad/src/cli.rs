//! The command line: subcommands, and the options of those that are ours alone. Components take upstream's flags and are
//! described in `components/`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    commands,
    components::{self, flags::command_line},
    up,
};

/// Names under which the binary is a component, as subcommand or as argv[0].
pub(crate) const COMPONENTS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// Kubernetes in one binary.
#[derive(Debug, Parser)]
#[command(name = "ironclad", version = version().leak() as &str, about, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `ironclad --version`, the API server's `/version` and the Node object say.
pub(crate) fn version() -> String {
    apiserver::discovery::Version::CURRENT.git_version()
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster on this machine, of one node or several
    Up(up::UpArgs),
    /// Show what is running
    Status(commands::status::StatusArgs),
    /// Stop the cluster, its pods and everything it made in the kernel
    Down(commands::down::DownArgs),
    /// List, pull, import, export and remove the node's images
    Image(commands::image::ImageArgs),
    /// Snapshot and restore the embedded store
    Store(commands::store::StoreArgs),
    /// Let another machine join the cluster
    Token(commands::token::TokenArgs),
    /// Answer HTTP requests with the name of this pod (what the example image runs)
    Hello(commands::hello::HelloArgs),
    /// Be one of the further nodes of `up --nodes`
    #[command(hide = true)]
    Machine(up::machines::machine::MachineCommand),
    /// Serve the Kubernetes API
    #[command(name = "kube-apiserver")]
    KubeApiserver(Box<components::kube_apiserver::Flags>),
    /// Run the controllers
    #[command(name = "kube-controller-manager")]
    KubeControllerManager(Box<components::kube_controller_manager::Flags>),
    /// Bind pods to nodes
    #[command(name = "kube-scheduler")]
    KubeScheduler(Box<components::kube_scheduler::Flags>),
    /// Run the pods of this node
    Kubelet(Box<components::kubelet::Flags>),
    /// Forward Services on this node
    #[command(name = "kube-proxy")]
    KubeProxy(Box<components::kube_proxy::Flags>),
}

/// Where a cluster keeps what it knows.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataDir {
    /// Directory of the cluster's data: store, keys, images, pod volumes
    #[arg(
        long = "data-dir",
        value_name = "DIR",
        default_value = "/var/lib/ironclad",
        global = true
    )]
    pub path: PathBuf,
}

impl Cli {
    /// The command of these arguments; the process ends if there is none. A component's are read, and refused, as upstream's.
    pub(crate) fn read(arguments: Vec<OsString>) -> Self {
        let component = arguments.get(1).and_then(|first| first.to_str());
        let component = COMPONENTS
            .iter()
            .copied()
            .find(|known| component == Some(*known));
        Self::try_read(arguments).unwrap_or_else(|error| {
            let complaint = component.and_then(|name| command_line::complaint(name, &error));
            match complaint {
                Some(complaint) => {
                    eprintln!("Error: {complaint}");
                    std::process::exit(1)
                }
                None => error.exit(),
            }
        })
    }

    /// The same, with the error.
    pub(crate) fn try_read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let is_component = arguments
            .get(1)
            .and_then(|first| first.to_str())
            .is_some_and(|first| COMPONENTS.contains(&first));
        let arguments = match is_component {
            true => command_line::normalize(arguments),
            false => arguments,
        };
        let command = command_line::prepare(Self::command(), COMPONENTS, version().leak());
        let matches = command.try_get_matches_from(arguments)?;
        Self::from_arg_matches(&matches)
    }

    /// Does what was asked.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Up(args) => up::run(args),
            Command::Status(args) => commands::status::run(args),
            Command::Down(args) => commands::down::run(args),
            Command::Image(args) => commands::image::run(args),
            Command::Store(args) => commands::store::run(args),
            Command::Token(args) => commands::token::run(args),
            Command::Hello(args) => commands::hello::run(args),
            Command::Machine(command) => up::machines::machine::run(command),
            Command::KubeApiserver(flags) => components::kube_apiserver::run(*flags),
            Command::KubeControllerManager(flags) => {
                components::kube_controller_manager::run(*flags)
            }
            Command::KubeScheduler(flags) => components::kube_scheduler::run(*flags),
            Command::Kubelet(flags) => components::kubelet::run(*flags),
            Command::KubeProxy(flags) => components::kube_proxy::run(*flags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let component = line.split(' ').nth(1).unwrap().to_owned();
        let error = Cli::try_read(arguments).map(drop).unwrap_err();
        command_line::complaint(&component, &error).unwrap_or_else(|| error.to_string())
    }

    #[test]
    fn every_flag_has_one_meaning() {
        // What clap checks at a component's first use: that no flag stands twice.
        Cli::command().debug_assert();
    }

    #[test]
    fn a_component_refuses_in_upstreams_words() {
        for (line, expected) in [
            ("ironclad kube-scheduler --bogus=1", "unknown flag: --bogus"),
            (
                "ironclad kube-controller-manager -x",
                "unknown shorthand flag: 'x' in -x",
            ),
            (
                "ironclad kubelet --bogus",
                "failed to parse kubelet flag: unknown flag: --bogus",
            ),
            (
                "ironclad kube-proxy extra",
                "\"kube-proxy\" does not take any arguments, got [\"extra\"]",
            ),
            (
                "ironclad kube-scheduler --leader-elect-lease-duration=long",
                "invalid argument \"long\" for \"--leader-elect-lease-duration\" flag: ",
            ),
        ] {
            let said = complaint(line);
            assert!(said.starts_with(expected), "{line}: {said}");
        }
    }

    #[test]
    fn the_last_of_two_values_counts_and_underscores_are_hyphens() {
        let line = "ironclad kube-controller-manager --secure_port=1 --secure-port=2 --concurrent_rc_syncs=3 --cert-dir=";
        let arguments = line.split(' ').map(OsString::from).collect();
        let read = Cli::try_read(arguments).unwrap();
        let shown = format!("{read:?}");
        assert!(
            shown.contains("secure_port: Some(2)") && shown.contains("concurrent_rc_syncs: 3"),
            "{shown}"
        );
    }
}
