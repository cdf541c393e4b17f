//! `mountOptions` of a PersistentVolume, as mount(8) takes them. Pure.

use linux::mounts::Attributes;

/// Options taken apart: what holds for the mount, and what is the filesystem's own.
#[derive(Debug, Default)]
pub(super) struct MountOptions<'a> {
    pub(super) attributes: Attributes,
    pub(super) filesystem: Vec<(&'a str, Option<&'a str>)>,
}

/// Takes options apart; one entry may hold several, joined by commas. Later ones win.
pub(super) fn parse(options: &[String]) -> MountOptions<'_> {
    let mut parsed = MountOptions::default();
    for option in options.iter().flat_map(|entry| entry.split(',')) {
        let attributes = &mut parsed.attributes;
        match option.trim() {
            "ro" => attributes.readonly = true,
            "rw" => attributes.readonly = false,
            "nosuid" => attributes.nosuid = true,
            "suid" => attributes.nosuid = false,
            "nodev" => attributes.nodev = true,
            "dev" => attributes.nodev = false,
            "noexec" => attributes.noexec = true,
            "exec" => attributes.noexec = false,
            "noatime" => attributes.noatime = true,
            "atime" | "relatime" => attributes.noatime = false,
            "nodiratime" => attributes.nodiratime = true,
            "diratime" => attributes.nodiratime = false,
            "" | "defaults" | "bind" | "rbind" => {}
            own => parsed.filesystem.push(match own.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (own, None),
            }),
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart() {
        let options = [
            "noexec,nosuid".to_owned(),
            "size=1m".into(),
            "discard".into(),
            "exec".into(),
        ];
        let parsed = parse(&options);
        assert!(parsed.attributes.nosuid && !parsed.attributes.noexec);
        assert_eq!(parsed.filesystem, [("size", Some("1m")), ("discard", None)]);
        assert!(parse(&[]).filesystem.is_empty());
    }
}
