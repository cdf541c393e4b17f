//! Who a process runs as: numbers from names, by the container's own /etc/passwd and /etc/group.

use std::path::Path;

use linux::root::Root;

use super::LaunchError;
use crate::shim::spec::{ResolvedUser, UserSpec};

/// Larger files are not read: no image needs them, and a hostile one could be endless.
const MAX_FILE: u64 = 8 << 20;

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some(PasswdEntry {
            name: fields.next()?,
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn group(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some(GroupEntry {
            name: fields.next()?,
            gid: fields.nth(1)?.parse().ok()?,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// Reads the files inside `root` and resolves. A number need not be in them, a name must.
pub(crate) fn resolve(root: &Root, spec: &UserSpec) -> Result<ResolvedUser, LaunchError> {
    let read = |path: &str| {
        // Images without the file are common; one that is not readable resolves nothing either.
        let bytes = root.read(Path::new(path), MAX_FILE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    resolve_in(&read("/etc/passwd"), &read("/etc/group"), spec).map_err(LaunchError::message)
}

fn resolve_in(
    passwd_text: &str,
    group_text: &str,
    spec: &UserSpec,
) -> Result<ResolvedUser, String> {
    let (user, image_group) = match spec.user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec.user.as_str(), None),
    };
    let user = if user.is_empty() { "0" } else { user };
    // A name that is a number means the number, unless somebody is called so.
    let by_name = passwd(passwd_text).find(|entry| entry.name == user);
    let (uid, entry) = match (by_name, user.parse::<u32>()) {
        (Some(entry), _) => (entry.uid, Some(entry)),
        (None, Ok(uid)) => (uid, passwd(passwd_text).find(|entry| entry.uid == uid)),
        (None, Err(_)) => {
            return Err(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ));
        }
    };
    let gid = match (spec.gid, image_group) {
        (Some(gid), _) => gid,
        (None, Some(name)) => match group(group_text).find(|entry| entry.name == name) {
            Some(entry) => entry.gid,
            None => name.parse().map_err(|_| {
                format!("unable to find group {name}: no matching entries in group file")
            })?,
        },
        (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut groups = vec![gid];
    let mut add = |gid| {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    };
    spec.supplemental_groups.iter().copied().for_each(&mut add);
    if let Some(entry) = entry.as_ref().filter(|_| !spec.strict_groups) {
        group(group_text)
            .filter(|group| group.members.split(',').any(|member| member == entry.name))
            .for_each(|group| add(group.gid));
    }
    let home = entry
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty())
        .unwrap_or("/");
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: home.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nmedia:x:50:ftp,web\n";

    fn spec(user: &str) -> UserSpec {
        UserSpec {
            user: user.to_owned(),
            ..UserSpec::default()
        }
    }

    #[test]
    fn names_numbers_and_groups() {
        let resolved = |spec: &UserSpec| {
            let user = resolve_in(PASSWD, GROUP, spec).unwrap();
            (user.uid, user.gid, user.groups, user.home)
        };
        assert_eq!(resolved(&spec("")), (0, 0, vec![0], "/root".to_owned()));
        assert_eq!(
            resolved(&spec("web")),
            (33, 34, vec![34, 50], "/var/www".to_owned())
        );
        assert_eq!(
            resolved(&spec("33")),
            (33, 34, vec![34, 50], "/var/www".to_owned())
        );
        assert_eq!(resolved(&spec("1000")), (1000, 0, vec![0], "/".to_owned()));
        assert_eq!(
            resolved(&spec("1000:media")),
            (1000, 50, vec![50], "/".to_owned())
        );
        let chosen = UserSpec {
            gid: Some(7),
            supplemental_groups: vec![8, 7],
            strict_groups: true,
            ..spec("web:www")
        };
        assert_eq!(
            resolved(&chosen),
            (33, 7, vec![7, 8], "/var/www".to_owned())
        );
    }

    #[test]
    fn unknown_names_are_errors() {
        assert_eq!(
            resolve_in(PASSWD, GROUP, &spec("nobody")).unwrap_err(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        assert!(resolve_in(PASSWD, GROUP, &spec("web:nogroup")).is_err());
    }
}
