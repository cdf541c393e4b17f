//! Which cgroup hierarchies are mounted, and where.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The version that has the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller, or group of them.
    V1,
    /// One for all.
    V2,
}

/// Controllers that we use; a hierarchy of version 1 with none of them is left alone.
const CONTROLLERS: &[&str] = &[
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb",
];

/// The mounted hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    version: Version,
    /// Where, with the controllers there. Version 2: one, without names.
    mounts: Vec<(PathBuf, Vec<String>)>,
}

impl Hierarchy {
    /// Looks at what is mounted.
    pub fn detect() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo")?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup hierarchy with a memory controller is mounted",
            )
        })
    }

    /// The same from the text of `mountinfo`. Where version 1 has the memory controller, version 1 is in use, whatever else is mounted.
    pub fn parse(mountinfo: &str) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = before.split(' ').nth(4) else {
                continue;
            };
            let mut after = after.split(' ');
            let (Some(kind), _, Some(options)) = (after.next(), after.next(), after.next()) else {
                continue;
            };
            let point = PathBuf::from(unescape(point));
            match kind {
                "cgroup2" => {
                    v2.get_or_insert(point);
                }
                "cgroup" => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|option| CONTROLLERS.contains(option))
                        .map(str::to_owned)
                        .collect();
                    // A hierarchy may be mounted twice; the first is as good.
                    let known = v1.iter().any(|(_, known)| *known == controllers);
                    if !controllers.is_empty() && !known {
                        v1.push((point, controllers));
                    }
                }
                _ => {}
            }
        }
        if v1
            .iter()
            .any(|(_, controllers)| controllers.iter().any(|one| one == "memory"))
        {
            return Some(Self {
                version: Version::V1,
                mounts: v1,
            });
        }
        v2.map(|point| Self {
            version: Version::V2,
            mounts: vec![(point, Vec::new())],
        })
    }

    /// The version in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where hierarchies are mounted.
    pub fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().map(|(point, _)| point.as_path())
    }

    /// The mounts of version 1 with their controllers, for showing them inside a container.
    pub fn named_mounts(&self) -> impl Iterator<Item = (&Path, &[String])> {
        self.mounts
            .iter()
            .map(|(point, controllers)| (point.as_path(), controllers.as_slice()))
    }

    /// The `cgroup.procs` files of the cgroups that a text of `/proc/PID/cgroup` names.
    pub fn procs_files(&self, proc_cgroup: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for line in proc_cgroup.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let mount = match (self.version, controllers) {
                (Version::V2, "") => self.mounts().next(),
                (Version::V1, controllers) if !controllers.is_empty() => controllers
                    .split(',')
                    .find_map(|controller| self.mount_of(controller)),
                _ => None,
            };
            if let Some(mount) = mount {
                files.push(
                    mount
                        .join(path.trim_start_matches('/'))
                        .join("cgroup.procs"),
                );
            }
        }
        files
    }

    /// Where the hierarchy with this controller is mounted.
    pub fn mount_of(&self, controller: &str) -> Option<&Path> {
        match self.version {
            Version::V2 => self.mounts().next(),
            Version::V1 => self
                .mounts
                .iter()
                .find(|(_, controllers)| controllers.iter().any(|one| one == controller))
                .map(|(point, _)| point.as_path()),
        }
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}
