//! The shim's loop: one thread, one `poll`, over its socket, its children and their streams.
//!
//! Invariants: nothing here waits (every descriptor is non-blocking); a client that does not read loses its connection; a container's
//! output is in its log before its end is told.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use linux::{
    process::{
        Forked, UnshareFlags, WaitOptions, WaitStatus, drain_signal_fd, fork,
        release_program_pages, wait,
    },
    seqpacket,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketFlags, SocketType},
    process::{Signal, kill_process},
};

use super::{
    container::{Attachment, Container, set_nonblocking},
    exec::Exec,
    launch::{self, Report},
    log::{LogFile, now_ns},
    protocol::{ContainerState, MAX_MESSAGE, Reply, Request},
    report::{ReportRead, make_streams, read_report, report_pair},
    sandbox::{Namespaces, fork_into_pids},
    spec::{PidMode, ResolvedUser, StartRequest},
};

/// More connections than this are refused: a bound, far above what a kubelet's execs and attachments make.
const MAX_CONNECTIONS: usize = 512;
/// After so much quiet the code that ran last is given back: most shims sleep for hours.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// One client.
#[derive(Debug)]
struct Connection {
    id: u64,
    socket: OwnedFd,
    subscribed: bool,
}

/// What a ready descriptor belongs to.
#[derive(Clone, Copy, Debug)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Starting(usize),
    Output(usize, usize),
    Attachment(usize, usize),
    Exec(usize),
}

/// The shim.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) namespaces: Namespaces,
    listener: OwnedFd,
    signals: OwnedFd,
    connections: Vec<Connection>,
    next_connection: u64,
    pub(super) containers: Vec<Container>,
    pub(super) execs: Vec<Exec>,
    /// Nothing has happened since the program's pages were given back.
    resting: bool,
    stopping: bool,
}

impl Server {
    pub(super) fn new(namespaces: Namespaces, listener: OwnedFd, signals: OwnedFd) -> Self {
        Self {
            namespaces,
            listener,
            signals,
            connections: Vec::new(),
            next_connection: 0,
            containers: Vec::new(),
            execs: Vec::new(),
            resting: false,
            stopping: false,
        }
    }

    /// Serves until it is shut down.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.stopping {
            for source in self.wait()? {
                self.handle(source);
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Listener, Source::Signals];
        let mut fds = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        let mut add = |source, fd| {
            sources.push(source);
            fds.push(fd);
        };
        for connection in &self.connections {
            let fd = PollFd::new(&connection.socket, PollFlags::IN);
            add(Source::Connection(connection.id), fd);
        }
        for (index, container) in self.containers.iter().enumerate() {
            if let Some((report, _)) = &container.starting {
                add(Source::Starting(index), PollFd::new(report, PollFlags::IN));
            }
            for (stream, output) in container.outputs.iter().enumerate() {
                if container.wants_output(output) {
                    add(
                        Source::Output(index, stream),
                        PollFd::new(&output.fd, PollFlags::IN),
                    );
                }
            }
            for (which, attachment) in container.attachments.iter().enumerate() {
                if attachment.is_behind() {
                    let fd = PollFd::new(&attachment.fd, PollFlags::OUT);
                    add(Source::Attachment(index, which), fd);
                }
            }
        }
        for (index, exec) in self.execs.iter().enumerate() {
            if let Some(report) = &exec.report {
                add(Source::Exec(index), PollFd::new(report, PollFlags::IN));
            }
        }
        let patience = (!self.resting).then_some(&QUIET);
        match poll(&mut fds, patience) {
            Ok(0) => release_program_pages(),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| !fd.revents().is_empty());
        let mut ready: Vec<Source> = ready.map(|(_, source)| *source).collect();
        // Children last: what they wrote and reported before their end comes first. An index that has shifted meanwhile does no harm:
        // every handler looks whether the thing is there, and reads or writes what is ready without waiting.
        ready.sort_by_key(|source| matches!(source, Source::Signals));
        self.resting = ready.is_empty();
        Ok(ready)
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => {
                drain_signal_fd(self.signals.as_fd());
                self.reap();
            }
            Source::Connection(id) => self.read_request(id),
            Source::Starting(index) => self.read_start_report(index),
            Source::Output(index, stream) => {
                if let Some(container) = self.containers.get_mut(index)
                    && stream < container.outputs.len()
                {
                    container.pump(stream);
                }
            }
            Source::Attachment(index, which) => {
                if let Some(container) = self.containers.get_mut(index)
                    && let Some(attachment) = container.attachments.get_mut(which)
                {
                    let alive = attachment.flush();
                    let ended = container.outputs.is_empty();
                    if !alive || (ended && !container.attachments[which].is_behind()) {
                        container.attachments.remove(which);
                    }
                }
                self.finish_attachments(index);
            }
            Source::Exec(index) => self.read_exec_report(index),
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        if self.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        self.next_connection += 1;
        let id = self.next_connection;
        self.connections.push(Connection {
            id,
            socket,
            subscribed: false,
        });
    }

    fn read_request(&mut self, id: u64) {
        let Some(connection) = self.connections.iter().find(|c| c.id == id) else {
            return;
        };
        let mut buffer = vec![0_u8; MAX_MESSAGE];
        match seqpacket::receive(connection.socket.as_fd(), &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok((0, _)) | Err(_) => self.drop_connection(id),
            Ok((length, fds)) => match serde_json::from_slice(&buffer[..length]) {
                Ok(request) => self.serve(id, request, fds),
                Err(error) => self.fail(id, format!("not a request: {error}"), false),
            },
        }
    }

    fn drop_connection(&mut self, id: u64) {
        self.connections.retain(|connection| connection.id != id);
        for container in &mut self.containers {
            container
                .attachments
                .retain(|attachment| attachment.connection != id);
        }
        for exec in self.execs.iter().filter(|exec| exec.connection == id) {
            if exec.exit_code.is_none() {
                let _ = kill_process(exec.pid, Signal::KILL);
            }
        }
    }

    pub(super) fn send(&mut self, id: u64, reply: &Reply, fds: &[BorrowedFd<'_>]) {
        let Some(connection) = self.connections.iter().find(|c| c.id == id) else {
            return;
        };
        let sent = serde_json::to_vec(reply)
            .map_err(io::Error::from)
            .and_then(|bytes| seqpacket::send(connection.socket.as_fd(), &bytes, fds));
        if sent.is_err() {
            self.drop_connection(id);
        }
    }

    pub(super) fn fail(&mut self, id: u64, message: impl Into<String>, not_running: bool) {
        self.send(
            id,
            &Reply::Failed {
                message: message.into(),
                not_running,
            },
            &[],
        );
    }

    fn answer(&mut self, id: u64, result: io::Result<()>) {
        match result {
            Ok(()) => self.send(id, &Reply::Done, &[]),
            Err(error) => self.fail(id, error.to_string(), false),
        }
    }

    fn serve(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Start(request) => {
                if let Err(error) = self.start(id, *request) {
                    self.fail(id, error.to_string(), false);
                }
            }
            Request::Exec { id: container } => {
                if let Some(index) = self.running(id, &container)
                    && let Err(error) = self.exec(id, index, fds)
                {
                    self.fail(id, error.to_string(), false);
                }
            }
            Request::Attach {
                id: container,
                stdin,
                stdout,
                stderr,
            } => {
                if let Some(index) = self.running(id, &container) {
                    self.attach(id, index, fds, stdin, [stdout, stderr]);
                }
            }
            Request::Kill {
                id: container,
                signal,
                all,
            } => {
                let result = self
                    .find(&container)
                    .map_or(Ok(()), |c| c.kill(signal, all));
                self.answer(id, result);
            }
            Request::CloseStdin { id: container } => {
                if let Some(container) = self.find(&container)
                    && container.request.stdin_once
                {
                    container.stdin = None;
                }
                self.answer(id, Ok(()));
            }
            Request::ReopenLog { id: container } => {
                if let Some(index) = self.running(id, &container) {
                    let log = self.containers[index].log.as_mut();
                    let result = log.map_or(Ok(()), LogFile::reopen);
                    self.answer(id, result);
                }
            }
            Request::Forget { id: container } => {
                self.containers
                    .retain(|c| c.id() != container || c.exit.is_none());
                self.answer(id, Ok(()));
            }
            Request::Connect { port, ipv6 } => match connect(port, ipv6) {
                Ok(socket) => self.send(id, &Reply::Done, &[socket.as_fd()]),
                Err(error) => self.fail(id, error.to_string(), false),
            },
            Request::Subscribe => {
                if let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) {
                    connection.subscribed = true;
                }
                let started = self.containers.iter().filter(|c| c.starting.is_none());
                let containers = started.map(state).collect();
                self.send(id, &Reply::Snapshot { containers }, &[]);
            }
            Request::Shutdown => {
                self.stop_all();
                self.answer(id, Ok(()));
                self.stopping = true;
            }
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|container| container.id() == id)
    }

    /// Where a running container stands; else the client is told.
    fn running(&mut self, connection: u64, id: &str) -> Option<usize> {
        let found = self
            .containers
            .iter()
            .position(|c| c.id() == id && c.is_running());
        if found.is_none() {
            self.fail(connection, format!("container {id} is not running"), true);
        }
        found
    }

    fn start(&mut self, connection: u64, request: StartRequest) -> io::Result<()> {
        if self.find(&request.id).is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("container {} was started already", request.id),
            ));
        }
        let log = match &request.log_path {
            Some(path) => Some(LogFile::open(path).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("open log {}: {error}", path.display()),
                )
            })?),
            None => None,
        };
        let (report, child_report) = report_pair()?;
        let (streams, stdin, outputs) = if request.tty {
            (None, None, Vec::new())
        } else {
            make_streams(request.stdin)?
        };
        let launch = launch::ContainerLaunch {
            spec_path: &request.spec_path,
            streams,
            report: child_report,
            pod_mounts: self.namespaces.pod_mounts.as_ref().map(AsFd::as_fd),
            host_mounts: self.namespaces.host_mounts.as_fd(),
            users: self.namespaces.users.as_ref(),
        };
        let forked = self.fork_into(&request.pid)?;
        let (pid, pidfd) = match forked {
            Forked::Child => launch::container(launch),
            Forked::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(launch);
        self.containers.push(Container {
            request,
            pid,
            pidfd,
            user: ResolvedUser::default(),
            started_at: 0,
            starting: Some((report, connection)),
            failure: None,
            exit: None,
            terminal: None,
            stdin,
            outputs,
            log,
            attachments: Vec::new(),
            attached: Vec::new(),
        });
        Ok(())
    }

    fn fork_into(&self, pid: &PidMode) -> io::Result<Forked> {
        let own = self.namespaces.host_pids.as_fd();
        let missing = |what: &str| io::Error::new(io::ErrorKind::NotFound, what.to_owned());
        match pid {
            PidMode::Own => fork(UnshareFlags::NEWPID),
            PidMode::Host => fork(UnshareFlags::empty()),
            PidMode::Sandbox => {
                let (_, pause) = self.namespaces.pause.as_ref().ok_or_else(|| {
                    missing("the sandbox has no PID namespace for its containers")
                })?;
                fork_into_pids(pause.as_fd(), own)
            }
            PidMode::Target(id) => {
                let target = self
                    .containers
                    .iter()
                    .find(|c| c.id() == id && c.is_running());
                let target = target
                    .ok_or_else(|| missing(&format!("target container {id} is not running")))?;
                fork_into_pids(target.pidfd.as_fd(), own)
            }
        }
    }

    fn read_start_report(&mut self, index: usize) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let Some((report, connection)) = container.starting.take() else {
            return;
        };
        match read_report(&report) {
            ReportRead::Later => container.starting = Some((report, connection)),
            ReportRead::Said(what, fds) => {
                match what {
                    Report::User(user) => container.user = user,
                    Report::Failed(message) => container.failure = Some(message),
                    Report::Terminal => {
                        if let Some(Err(error)) =
                            fds.into_iter().next().map(|fd| container.take_terminal(fd))
                        {
                            container.failure = Some(error.to_string());
                        }
                    }
                }
                container.starting = Some((report, connection));
            }
            ReportRead::Ended => self.started(index, connection),
        }
    }

    /// The child has become its program, or failed to.
    fn started(&mut self, index: usize, connection: u64) {
        if let Some(message) = self.containers[index].failure.clone() {
            let container = self.containers.remove(index);
            let _ = container.kill(Signal::KILL.as_raw(), false);
            return self.fail(connection, message, false);
        }
        let container = &mut self.containers[index];
        container.started_at = now_ns();
        let pid = container.pid.as_raw_nonzero().get();
        let (user, started_at) = (container.user.clone(), container.started_at);
        let running = state(container);
        self.send(
            connection,
            &Reply::Started {
                pid,
                user,
                started_at,
            },
            &[],
        );
        self.publish(running);
    }

    fn attach(
        &mut self,
        connection: u64,
        index: usize,
        fds: Vec<OwnedFd>,
        stdin: bool,
        wanted: [bool; 2],
    ) {
        let container = &mut self.containers[index];
        container.attached.push(connection);
        let mut fds = fds.into_iter();
        for (stderr, wanted) in [false, true].into_iter().zip(wanted) {
            let Some(fd) = wanted.then(|| fds.next()).flatten() else {
                continue;
            };
            if set_nonblocking(fd.as_fd()).is_ok() {
                container
                    .attachments
                    .push(Attachment::new(connection, fd, stderr));
            }
        }
        // The client writes to the container's input itself; and a terminal's size is set by the same descriptor.
        let input = container
            .stdin
            .as_ref()
            .filter(|_| stdin)
            .or(container.terminal.as_ref());
        let input = input.and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).ok());
        let fds: Vec<_> = input.iter().map(AsFd::as_fd).collect();
        self.send(connection, &Reply::Done, &fds);
    }

    /// Takes the status of every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let (exit_code, signal) = exit_code(status);
            if let Some(index) = self.containers.iter().position(|c| c.pid == pid) {
                self.container_ended(index, exit_code, signal);
            } else if let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) {
                self.execs[index].exit_code = Some(exit_code);
                self.finish_exec(index);
            }
            // Else it is a descendant that nobody waits for: we are its reaper.
        }
    }

    fn container_ended(&mut self, index: usize, exit_code: i32, signal: Option<i32>) {
        // Its report, if it ended at once, is there in full by now.
        while self
            .containers
            .get(index)
            .is_some_and(|c| c.starting.is_some())
        {
            let before = self.containers.len();
            self.read_start_report(index);
            if self.containers.len() < before {
                return;
            }
        }
        let container = &mut self.containers[index];
        if container.request.pid != PidMode::Own {
            container.kill_cgroup(Signal::KILL);
        }
        container.drain();
        container.record_exit(exit_code, signal);
        let ended = state(container);
        self.publish(ended);
        self.finish_attachments(index);
    }

    /// Closes the connections of those who were attached to a container that has ended, as far as they have its output.
    fn finish_attachments(&mut self, index: usize) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        for connection in container.take_finished() {
            self.drop_connection(connection);
        }
    }

    fn publish(&mut self, changed: ContainerState) {
        let reply = Reply::Changed(changed);
        let subscribers: Vec<u64> = self
            .connections
            .iter()
            .filter(|c| c.subscribed)
            .map(|c| c.id)
            .collect();
        for id in subscribers {
            self.send(id, &reply, &[]);
        }
    }

    /// Kills every container and waits for their ends, so that each is recorded.
    fn stop_all(&mut self) {
        for container in &self.containers {
            let _ = container.kill(Signal::KILL.as_raw(), container.request.pid != PidMode::Own);
        }
        while self.containers.iter().any(|c| c.exit.is_none()) {
            // SIGKILL cannot be refused: each of them ends.
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let (exit_code, signal) = exit_code(status);
                    if let Some(index) = self.containers.iter().position(|c| c.pid == pid) {
                        self.container_ended(index, exit_code, signal);
                    }
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if let Some((pause, _)) = self.namespaces.pause.take() {
            let _ = kill_process(pause, Signal::KILL);
        }
    }
}

fn state(container: &Container) -> ContainerState {
    ContainerState {
        id: container.id().to_owned(),
        pid: container.pid.as_raw_nonzero().get(),
        user: container.user.clone(),
        started_at: container.started_at,
        exit: container.exit,
    }
}

fn exit_code(status: WaitStatus) -> (i32, Option<i32>) {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code, None),
        (None, Some(signal)) => (128 + signal, Some(signal)),
        (None, None) => (255, None),
    }
}

/// A connection to loopback in the pod's network namespace, ours. It is begun, not waited for.
fn connect(port: u16, ipv6: bool) -> io::Result<OwnedFd> {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let (family, address) = if ipv6 {
        (
            AddressFamily::INET6,
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        )
    } else {
        (
            AddressFamily::INET,
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        )
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Says on standard output that the shim serves, or why not; whoever started it reads that.
pub(super) fn announce(result: Result<(), &io::Error>) {
    let mut out = io::stdout();
    let _ = match result {
        Ok(()) => writeln!(out, "ready"),
        Err(error) => writeln!(out, "{error}"),
    };
    let _ = out.flush();
}
