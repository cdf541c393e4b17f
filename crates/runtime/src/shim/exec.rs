//! Processes executed in running containers: the shim starts them in the container's namespaces, and tells their end on the connection
//! that asked for them.

use std::{
    fs::File,
    io::{self, Seek as _},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use linux::process::{Forked, Pid};

use super::{
    launch::{self, Report, Streams},
    log::now_ns,
    protocol::Reply,
    report::{ReportRead, read_report, report_pair},
    sandbox::fork_into_pids,
    server::Server,
    spec::ResolvedUser,
};

/// A process executed in a container.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) connection: u64,
    pub(super) pid: Pid,
    /// Until it runs.
    pub(super) report: Option<OwnedFd>,
    pub(super) user: ResolvedUser,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) failure: Option<String>,
    pub(super) exit_code: Option<i32>,
}

impl Server {
    pub(super) fn exec(
        &mut self,
        connection: u64,
        index: usize,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut fds = fds.into_iter();
        let spec = fds.next().ok_or(io::ErrorKind::InvalidInput)?;
        File::from(spec.try_clone()?).rewind()?;
        let rest: Vec<OwnedFd> = fds.collect();
        // Three streams, or none and then it has a terminal.
        let streams = Streams::try_from(rest).ok();
        let (report, child_report) = report_pair()?;
        let container = &self.containers[index];
        let procs_files = procs_files_of(container.pid)?;
        let launch = launch::ExecLaunch {
            spec,
            streams,
            report: child_report,
            container: container.pidfd.as_fd(),
            procs_files: &procs_files,
            users: self.namespaces.users.as_ref(),
        };
        let own = self.namespaces.host_pids.as_fd();
        let pid = match fork_into_pids(container.pidfd.as_fd(), own)? {
            Forked::Child => launch::exec(launch),
            Forked::Parent { pid, .. } => pid,
        };
        self.execs.push(Exec {
            connection,
            pid,
            report: Some(report),
            user: ResolvedUser::default(),
            terminal: None,
            failure: None,
            exit_code: None,
        });
        Ok(())
    }

    pub(super) fn read_exec_report(&mut self, index: usize) {
        let Some(exec) = self.execs.get_mut(index) else {
            return;
        };
        let Some(report) = &exec.report else { return };
        match read_report(report) {
            ReportRead::Later => {}
            ReportRead::Said(Report::User(user), _) => exec.user = user,
            ReportRead::Said(Report::Failed(message), _) => exec.failure = Some(message),
            ReportRead::Said(Report::Terminal, fds) => exec.terminal = fds.into_iter().next(),
            ReportRead::Ended => {
                exec.report = None;
                let connection = exec.connection;
                if let Some(message) = exec.failure.clone() {
                    self.fail(connection, message, false);
                } else {
                    let pid = exec.pid.as_raw_nonzero().get();
                    let started = Reply::Started {
                        pid,
                        user: exec.user.clone(),
                        started_at: now_ns(),
                    };
                    let terminal = exec.terminal.take();
                    let fds: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                    self.send(connection, &started, &fds);
                }
                self.finish_exec(index);
            }
        }
    }

    /// Tells the end of an exec, if both its start and its end are known.
    pub(super) fn finish_exec(&mut self, index: usize) {
        let Some(Exec {
            report: None,
            exit_code: Some(exit_code),
            connection,
            ..
        }) = self.execs.get(index)
        else {
            return;
        };
        let (exit_code, connection) = (*exit_code, *connection);
        let exec = self.execs.remove(index);
        if exec.failure.is_none() {
            self.send(connection, &Reply::Exited { exit_code }, &[]);
        }
    }
}

/// The `cgroup.procs` of every hierarchy that a process is in.
fn procs_files_of(pid: Pid) -> io::Result<Vec<PathBuf>> {
    let hierarchy = linux::cgroup::Hierarchy::detect()?;
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    Ok(hierarchy.procs_files(&text))
}
