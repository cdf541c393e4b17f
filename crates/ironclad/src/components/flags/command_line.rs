//! A component's command line as upstream reads and refuses it: underscores are hyphens, of two values of a flag the last counts, a flag that is
//! there but empty leaves its default, and `unknown flag: --name` is the answer to what nobody knows.

use std::ffi::OsString;

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Flags whose empty value says something: "nowhere", or "nothing".
const EMPTY_SAYS_SOMETHING: &[&str] = &[
    "authorization-always-allow-paths",
    "healthz-bind-address",
    "metrics-bind-address",
];

/// The command as components are to be read.
pub(crate) fn prepare(
    command: Command,
    components: &[&'static str],
    version: &'static str,
) -> Command {
    components.iter().fold(command, |command, component| {
        command.mut_subcommand(component, |component| {
            component
                .args_override_self(true)
                .display_name("Kubernetes")
                .version(version)
        })
    })
}

/// The arguments, as clap is to see them.
pub(crate) fn normalize(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .into_iter()
        .filter_map(|argument| {
            let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
                return Some(argument);
            };
            let Some((name, value)) = flag.split_once('=') else {
                return Some(format!("--{}", flag.replace('_', "-")).into());
            };
            let name = name.replace('_', "-");
            let says = !value.is_empty() || EMPTY_SAYS_SOMETHING.contains(&name.as_str());
            says.then(|| format!("--{name}={value}").into())
        })
        .collect()
}

/// The flags that are given, with their values: `--name=value`, `--name value`, `--name`. For `/flagz`.
pub(crate) fn given_flags(args: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let mut flags: Vec<(String, Option<String>)> = Vec::new();
    for arg in args.skip(1) {
        match (arg.strip_prefix("--"), flags.last_mut()) {
            (Some(flag), _) => {
                let (name, value) = match flag.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (flag, None),
                };
                flags.push((name.to_owned(), value));
            }
            (None, Some((_, value @ None))) => *value = Some(arg),
            (None, _) => {}
        }
    }
    let said = |(name, value): (String, Option<String>)| {
        (name, value.unwrap_or_else(|| "true".to_owned()))
    };
    flags.into_iter().map(said).collect()
}

/// What is wrong with a component's command line, in upstream's words. `None`: it is no error, or one that upstream has no words for.
pub(crate) fn complaint(component: &str, error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    // `--port <PORT>`
    let flag = argument.split([' ', '=']).next().unwrap_or(argument);
    let said = match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument => match flag.strip_prefix('-').and_then(|f| f.chars().next()) {
            Some(short) => format!("unknown shorthand flag: {short:?} in {flag}"),
            None => {
                return Some(format!(
                    "{component:?} does not take any arguments, got [{argument:?}]"
                ));
            }
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            if value.is_empty() {
                format!("flag needs an argument: {flag}")
            } else {
                let why = std::error::Error::source(error)
                    .map(ToString::to_string)
                    .unwrap_or_else(|| "invalid value".to_owned());
                format!("invalid argument {value:?} for {flag:?} flag: {why}")
            }
        }
        _ => return None,
    };
    Some(match component {
        "kubelet" => format!("failed to parse kubelet flag: {said}"),
        _ => said,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_off_the_command_line() {
        let args = [
            "ironclad",
            "kube-apiserver",
            "--a=b",
            "--c",
            "d",
            "--e",
            "--f=g=h",
        ];
        let flags = given_flags(args.map(str::to_owned).into_iter());
        let flags: Vec<(&str, &str)> = flags
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(flags, [("a", "b"), ("c", "d"), ("e", "true"), ("f", "g=h")]);
    }

    #[test]
    fn underscores_are_hyphens_and_empty_is_absent() {
        let given = [
            "--concurrent_rc_syncs=3",
            "--cert-dir=",
            "--metrics-bind-address=",
            "--a_b",
            "c_d",
        ];
        let read = normalize(given.map(OsString::from));
        let expected = [
            "--concurrent-rc-syncs=3",
            "--metrics-bind-address=",
            "--a-b",
            "c_d",
        ];
        assert_eq!(read, expected.map(OsString::from));
    }
}
