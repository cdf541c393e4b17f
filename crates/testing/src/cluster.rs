//! A cluster for one test: `ironclad up` in a network namespace, and kubectl to speak with it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::{
    busybox_archive, eventually,
    netns::{Families, NetworkNamespace},
};

/// How long a start may take on a busy machine; on a quiet one it is about a second.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// What a test cluster is to have.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Arguments of `ironclad up` beyond those that place it.
    pub arguments: Vec<String>,
    /// Its environment beyond that of the test.
    pub environment: Vec<(String, String)>,
    /// Addresses that its machine has.
    pub families: Families,
}

impl Options {
    /// How many nodes there are to be.
    fn nodes(&self) -> usize {
        let mut arguments = self.arguments.iter();
        arguments
            .find_map(|argument| argument.strip_prefix("--nodes=")?.parse().ok())
            .unwrap_or(1)
    }
}

/// A running cluster.
pub struct Cluster {
    binary: PathBuf,
    netns: NetworkNamespace,
    directory: TempDir,
    options: Options,
    process: Option<Child>,
}

impl Cluster {
    /// Starts one and waits until its node is ready. It has the image `busybox.test/busybox:1`.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let binary = binary()?;
        let directory = tempfile::Builder::new()
            .prefix("ironclad-test-")
            .tempdir()?;
        let netns = NetworkNamespace::create(options.families)?;
        let mut cluster = Self {
            binary,
            netns,
            directory,
            options,
            process: None,
        };
        cluster.spawn()?;
        let archive = busybox_archive(cluster.directory.path(), "busybox.test/busybox:1")?;
        let output = cluster
            .ironclad(&["image", "import"])
            .arg(&archive)
            .output()?;
        ensure!(
            output.status.success(),
            "importing busybox: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(cluster)
    }

    /// Starts the process (again) and waits until the node is ready.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let arguments = self.options.arguments.clone();
        let child = self
            .ironclad(&["up"])
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .envs(self.options.environment.clone())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting ironclad up")?;
        self.process = Some(child);
        eventually(START_PATIENCE, || self.check_ready());
        Ok(())
    }

    fn check_ready(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self
            .process
            .as_mut()
            .map(Child::try_wait)
            .transpose()?
            .flatten()
        {
            panic!("ironclad up ended with {status}:\n{}", self.log());
        }
        let ready = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        let output = self.try_kubectl(&["get", "nodes", "-o", ready])?;
        let states: Vec<&str> = output.split(' ').collect();
        let wanted = self.options.nodes();
        ensure!(
            states == vec!["True"; wanted],
            "{wanted} nodes are not ready: {output:?}"
        );
        Ok(())
    }

    /// The process id of the server.
    pub fn pid(&self) -> Option<u32> {
        // nsenter execs: the child is the server itself.
        self.process.as_ref().map(Child::id)
    }

    /// Kills the server with SIGKILL, as a crash would. Pods run on.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            bail!("the server is not running")
        };
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// An `ironclad` command on this cluster's data directory, in its namespace.
    pub fn ironclad(&self, arguments: &[&str]) -> Command {
        let mut command = self.netns.command(&self.binary);
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir());
        command
    }

    /// Any command in the cluster's network, with `KUBECONFIG` set.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.netns.command(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.directory.path());
        command
    }

    /// Runs stock kubectl and answers what it printed, or what it complained about.
    pub fn try_kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        said(
            arguments,
            self.command("kubectl")
                .args(arguments)
                .stdin(Stdio::null())
                .output()?,
        )
    }

    /// The same; a failure is the test's.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        match self.try_kubectl(arguments) {
            Ok(output) => output,
            Err(error) => panic!("{error:#}\nserver's log:\n{}", self.log()),
        }
    }

    /// `kubectl apply -f -` of a manifest.
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with_input(&["apply", "-f", "-"], manifest)
    }

    /// kubectl with standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> String {
        let run = || -> anyhow::Result<String> {
            let mut child = self
                .command("kubectl")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            child
                .stdin
                .take()
                .context("a pipe was asked for")?
                .write_all(input.as_bytes())?;
            said(arguments, child.wait_with_output()?)
        };
        run().unwrap_or_else(|error| panic!("{error:#}\nserver's log:\n{}", self.log()))
    }

    /// Where the test may put files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The network that the cluster lives in.
    pub fn netns(&self) -> &NetworkNamespace {
        &self.netns
    }

    /// The cluster's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("up.log")
    }

    /// The end of what the server has logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = self.ironclad(&["down", "--purge"]).output();
        match down {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("ironclad down: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("ironclad down: {error}"),
        }
        if let Some(mut process) = self.process.take() {
            // `down` has asked it to end; what is left of it is ours to reap.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The binary under test: `IRONCLAD_BINARY`, which `cargo xtask test` sets.
fn binary() -> anyhow::Result<PathBuf> {
    std::env::var_os("IRONCLAD_BINARY")
        .map(PathBuf::from)
        .context("IRONCLAD_BINARY does not name the binary: run the tests with `cargo xtask test`")
}

fn said(arguments: &[&str], output: Output) -> anyhow::Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    ensure!(
        output.status.success(),
        "kubectl {}: {}{}",
        arguments.join(" "),
        stdout,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(stdout)
}
