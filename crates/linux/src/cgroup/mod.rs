//! Control groups, versions 1 and 2 behind one type.
//!
//! A [`Cgroup`] is a path in the hierarchy (or in each of version 1's hierarchies). What is written where is decided by pure functions,
//! one for each version ([`v1`], [`v2`]); this file carries it out. Nothing outside the cgroups that a caller names is changed, except
//! that version 2 demands that controllers be enabled in the parents.

mod detect;
mod devices;
mod stats;
mod v1;
mod v2;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

pub use detect::{Hierarchy, Version};
pub use devices::{Access, DeviceKind, DeviceRule};
pub use stats::Stats;

use rustix::process::{Pid, Signal, kill_process};

/// How often an emptied cgroup is tried to be removed, and killed processes looked for; the kernel needs a moment for each.
const MAX_ATTEMPTS: u32 = 200;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);

/// One value to write: the controller (version 1 has a hierarchy for each), the file, the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Controller.
    pub controller: &'static str,
    /// File.
    pub file: String,
    /// What to write.
    pub value: String,
}

impl Setting {
    fn new(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Self {
        Self {
            controller,
            file: file.into(),
            value: value.to_string(),
        }
    }
}

/// Limits. `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Relative weight, 2 to 262144, where 1024 is one CPU.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in each period; negative: no limit.
    pub cpu_quota_us: Option<i64>,
    /// Length of the period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Bytes; negative: no limit.
    pub memory_limit: Option<i64>,
    /// Bytes of memory and swap together; negative: no limit.
    pub memory_swap_limit: Option<i64>,
    /// Whether an OOM kills everything in the cgroup. Version 2 alone can.
    pub oom_group: Option<bool>,
    /// Processes; negative: no limit.
    pub pids_limit: Option<i64>,
    /// CPUs, as a list of ranges.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as a list of ranges.
    pub cpuset_mems: Option<String>,
    /// Bytes of huge pages by page size (`2MB`).
    pub hugepages: Vec<(String, u64)>,
    /// Files of version 2 and their values, written last.
    pub unified: BTreeMap<String, String>,
}

/// A cgroup, which need not exist yet.
#[derive(Clone, Debug)]
pub struct Cgroup {
    hierarchy: Arc<Hierarchy>,
    path: String,
}

impl Cgroup {
    /// The cgroup of that absolute path, counted from where the hierarchy is mounted.
    pub fn new(hierarchy: Arc<Hierarchy>, path: &str) -> io::Result<Self> {
        let clean = path.trim_matches('/');
        if clean.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("not a path of a cgroup: {path:?}"),
            ));
        }
        Ok(Self {
            hierarchy,
            path: format!("/{clean}"),
        })
    }

    /// A cgroup below.
    pub fn child(&self, name: &str) -> io::Result<Self> {
        Self::new(self.hierarchy.clone(), &format!("{}/{name}", self.path))
    }

    /// The path, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The version in use.
    pub fn version(&self) -> Version {
        self.hierarchy.version()
    }

    /// Its directories: one for each hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.hierarchy
            .mounts()
            .map(|mount| self.in_mount(mount))
            .collect()
    }

    /// Its directory in the hierarchy of a controller.
    pub fn directory(&self, controller: &str) -> Option<PathBuf> {
        Some(self.in_mount(self.hierarchy.mount_of(controller)?))
    }

    fn in_mount(&self, mount: &Path) -> PathBuf {
        mount.join(&self.path[1..])
    }

    /// Whether it exists in every hierarchy.
    pub fn exists(&self) -> bool {
        self.directories()
            .iter()
            .all(|directory| directory.is_dir())
    }

    /// Makes it, and its parents, ready to take processes.
    pub fn create(&self) -> io::Result<()> {
        for mount in self.hierarchy.mounts() {
            let mut directory = mount.to_path_buf();
            for part in self.path[1..].split('/') {
                if self.version() == Version::V2 {
                    v2::enable_controllers(&directory);
                }
                let parent = directory.clone();
                directory.push(part);
                match fs::create_dir(&directory) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(name_path(error, &directory)),
                }
                if self.version() == Version::V1 {
                    v1::inherit_cpuset(&parent, &directory)?;
                }
            }
        }
        Ok(())
    }

    /// Sets limits.
    pub fn apply(&self, resources: &Resources) -> io::Result<()> {
        let settings = match self.version() {
            Version::V1 => v1::settings(resources),
            Version::V2 => v2::settings(resources),
        };
        match self.version() {
            Version::V1 => v1::apply(self, &settings),
            Version::V2 => settings.iter().try_for_each(|setting| self.write(setting)),
        }
    }

    /// Lets processes use these devices and no others.
    pub fn restrict_devices(&self, allowed: &[DeviceRule]) -> io::Result<()> {
        match self.version() {
            Version::V1 => {
                for setting in devices::settings_v1(allowed) {
                    self.write(&setting)?;
                }
                Ok(())
            }
            Version::V2 => match self.directories().first() {
                Some(directory) => devices::attach_v2(directory, allowed),
                None => Ok(()),
            },
        }
    }

    /// Writes one value. A controller that is not there is an error only if a limit was asked of it, which it was.
    pub fn write(&self, setting: &Setting) -> io::Result<()> {
        let directory = self.directory(setting.controller).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                format!("cgroup controller {} is not available", setting.controller),
            )
        })?;
        let path = directory.join(&setting.file);
        fs::write(&path, &setting.value).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("write {:?} to {}: {error}", setting.value, path.display()),
            )
        })
    }

    /// Reads a file of a controller, trimmed.
    pub fn read(&self, controller: &str, file: &str) -> io::Result<String> {
        let directory = self
            .directory(controller)
            .ok_or(io::ErrorKind::Unsupported)?;
        let path = directory.join(file);
        let text = fs::read_to_string(&path).map_err(|error| name_path(error, &path))?;
        Ok(text.trim_end().to_owned())
    }

    /// The files that a process writes its id to (or 0 for itself) to move in.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.directories()
            .into_iter()
            .map(|directory| directory.join("cgroup.procs"))
            .collect()
    }

    /// Moves a process in.
    pub fn add(&self, pid: Pid) -> io::Result<()> {
        for file in self.procs_files() {
            fs::write(&file, pid.as_raw_nonzero().to_string())
                .map_err(|error| name_path(error, &file))?;
        }
        Ok(())
    }

    /// The processes in it and, with `recursive`, below it, as this process's PID namespace numbers them.
    pub fn processes(&self, recursive: bool) -> io::Result<Vec<Pid>> {
        let mut found = Vec::new();
        for directory in self.directories() {
            collect_processes(&directory, recursive, &mut found)?;
        }
        found.sort_by_key(|pid| pid.as_raw_nonzero());
        found.dedup();
        Ok(found)
    }

    /// Kills every process in it and below it, and waits until they have left. Idempotent.
    pub fn kill(&self) -> io::Result<()> {
        if self.version() == Version::V2
            && let Some(directory) = self.directories().first()
            && fs::write(directory.join("cgroup.kill"), "1").is_ok()
        {
            // Since Linux 5.14 all at once; below is the wait for them, and the way of older kernels.
        }
        let _ = self.freeze(true);
        for attempt in 0..MAX_ATTEMPTS {
            let processes = self.processes(true)?;
            if processes.is_empty() {
                return Ok(());
            }
            for pid in processes {
                let _ = kill_process(pid, Signal::KILL);
            }
            if attempt == 0 {
                // A process frozen by version 1 dies when it thaws, the signal being pending by then.
                let _ = self.freeze(false);
            }
            thread::sleep(ATTEMPT_PAUSE);
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("processes in cgroup {} do not die", self.path),
        ))
    }

    /// Stops or continues every process in it. Does not wait until it has happened.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let setting = match self.version() {
            Version::V1 => Setting::new(
                "freezer",
                "freezer.state",
                if frozen { "FROZEN" } else { "THAWED" },
            ),
            Version::V2 => Setting::new("", "cgroup.freeze", u8::from(frozen)),
        };
        self.write(&setting)
    }

    /// Removes it and everything below. No process may be in it; one that has just died is waited for. Idempotent.
    pub fn remove(&self) -> io::Result<()> {
        self.directories()
            .iter()
            .try_for_each(|directory| remove_tree(directory))
    }

    /// Names of the cgroups directly below, in any hierarchy.
    pub fn children(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for directory in self.directories() {
            for path in subdirectories(&directory)? {
                names.extend(path.file_name().and_then(|n| n.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Use of resources now.
    pub fn stats(&self) -> io::Result<Stats> {
        match self.version() {
            Version::V1 => v1::stats(self),
            Version::V2 => v2::stats(self),
        }
    }

    /// The file in whose `oom_kill` line the kernel counts OOM kills.
    pub fn oom_file(&self) -> Option<PathBuf> {
        let file = match self.version() {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        Some(self.directory("memory")?.join(file))
    }
}

/// The count in an [`Cgroup::oom_file`]'s text.
pub fn parse_oom_kills(text: &str) -> u64 {
    stats::flat_keyed(text, "oom_kill").unwrap_or(0)
}

fn name_path(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn collect_processes(directory: &Path, recursive: bool, into: &mut Vec<Pid>) -> io::Result<()> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => {
            into.extend(
                text.lines()
                    .filter_map(|line| Pid::from_raw(line.parse().ok()?)),
            );
        }
        // A threaded cgroup of version 2, whose processes stand in its parent; or it has gone.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(name_path(error, directory)),
    }
    if recursive {
        for child in subdirectories(directory)? {
            collect_processes(&child, true, into)?;
        }
    }
    Ok(())
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(Vec::new()),
        result => result.map_err(|error| name_path(error, directory))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for child in subdirectories(directory)? {
        remove_tree(&child)?;
    }
    let mut attempt = 0;
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            // Processes that have died are still leaving.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempt < MAX_ATTEMPTS => {
                attempt += 1;
                thread::sleep(ATTEMPT_PAUSE);
            }
            Err(error) => return Err(name_path(error, directory)),
        }
    }
}

#[cfg(test)]
mod tests;
