//! A stock kubectl, of whichever version, in a namespace of its own, spoken to in the words a person would type.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{Cluster, eventually};

/// What a pod, a rollout or a volume may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// kubectl, speaking with one cluster about one namespace.
pub struct Kubectl<'a> {
    cluster: &'a Cluster,
    program: String,
    namespace: String,
}

impl<'a> Kubectl<'a> {
    /// Makes the namespace and waits until pods can start in it.
    pub fn new(cluster: &'a Cluster, program: &str, namespace: &str) -> Self {
        let kubectl = Self {
            cluster,
            program: program.to_owned(),
            namespace: namespace.to_owned(),
        };
        kubectl.run(&format!("create namespace {namespace}"));
        kubectl.until(
            "get serviceaccount default -o name",
            "serviceaccount/default",
        );
        kubectl
    }

    /// The cluster it speaks with.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// The namespace it speaks about.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A shell in the cluster's network that runs `script`, with `$KUBECTL` being this kubectl in its namespace.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.cluster.command("sh");
        command
            .args(["-c", script])
            .env("KUBECTL", format!("{} -n {}", self.program, self.namespace))
            .current_dir(self.cluster.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// kubectl with the rest of a command line, in the shell's syntax.
    pub fn command(&self, line: &str) -> Command {
        self.shell(&format!("exec $KUBECTL {line}"))
    }

    /// Runs it and answers what came of it, whatever that is.
    pub fn output(&self, line: &str) -> Output {
        self.command(line)
            .output()
            .unwrap_or_else(|error| panic!("kubectl {line}: {error}"))
    }

    /// Runs it and answers what it printed, or everything it said when it failed.
    pub fn attempt(&self, line: &str) -> anyhow::Result<String> {
        judged(line, self.command(line).output()?)
    }

    /// Runs it and answers what it printed; a failure is the test's.
    pub fn run(&self, line: &str) -> String {
        self.attempt(line)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs it with standard input.
    pub fn run_with(&self, line: &str, input: &str) -> String {
        let run = || -> anyhow::Result<String> {
            let mut child = self.command(line).stdin(Stdio::piped()).spawn()?;
            let mut stdin = child.stdin.take().context("a pipe was asked for")?;
            stdin.write_all(input.as_bytes())?;
            drop(stdin);
            judged(line, child.wait_with_output()?)
        };
        run().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, manifest: &str) -> String {
        self.run_with("apply -f -", manifest)
    }

    /// Runs it, expects it to fail, and answers its complaint.
    pub fn refused(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(
            !output.status.success(),
            "kubectl {line} should have failed: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned()
    }

    /// Runs it and expects a complaint that contains `expected`.
    pub fn refuses(&self, line: &str, expected: &str) {
        let complaint = self.refused(line);
        assert!(
            complaint.contains(expected),
            "kubectl {line}: no {expected:?} in:\n{complaint}"
        );
    }

    /// Runs it again and again until its output contains `expected`.
    pub fn until(&self, line: &str, expected: &str) -> String {
        eventually(PATIENCE, || {
            let output = self.attempt(line)?;
            ensure!(
                output.contains(expected),
                "kubectl {line}: no {expected:?} in {output:?}"
            );
            Ok(output)
        })
    }

    /// Runs it and checks that its output contains every one of `expected`.
    pub fn shows(&self, line: &str, expected: &[&str]) -> String {
        let output = self.run(line);
        for part in expected {
            assert!(
                output.contains(part),
                "kubectl {line}: no {part:?} in:\n{output}"
            );
        }
        output
    }

    /// Waits until the pod is ready.
    pub fn wait_ready(&self, pod: &str) {
        if let Err(error) = self.attempt(&format!("wait --for=condition=Ready --timeout=40s {pod}"))
        {
            let described = self.run(&format!("describe {pod}"));
            panic!("{error:#}\n{described}\n{}", self.cluster.log());
        }
    }
}

fn judged(line: &str, output: Output) -> anyhow::Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    ensure!(
        output.status.success(),
        "kubectl {line}: {}: {stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(stdout)
}
