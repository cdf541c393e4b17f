//! Rules of probes and lifecycle hooks.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::Context;
use crate::{
    fields::Fields,
    names,
    validate::{non_negatives, one_of, ports, text},
};

/// The three probes of a container.
pub(super) fn of_container(
    errors: &mut ErrorList,
    at: &Path,
    container: &Object,
    context: &Context<'_>,
) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.object(name) else {
            continue;
        };
        let path = at.child(name);
        validate(errors, &path, probe, context);
        if name == "readinessProbe" {
            if let Some(seconds) = probe.int("terminationGracePeriodSeconds") {
                errors.push(FieldError::invalid(
                    &path.child("terminationGracePeriodSeconds"),
                    seconds,
                    "must not be set for readinessProbes",
                ));
            }
        } else if let threshold @ (..=0 | 2..) = probe.int("successThreshold").unwrap_or(0) {
            errors.push(FieldError::invalid(
                &path.child("successThreshold"),
                threshold,
                "must be 1",
            ));
        }
    }
}

fn validate(errors: &mut ErrorList, path: &Path, probe: &Object, context: &Context<'_>) {
    handler(errors, path, probe, context);
    non_negatives(
        errors,
        path,
        probe,
        &[
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ],
    );
    if let Some(seconds) = probe
        .int("terminationGracePeriodSeconds")
        .filter(|s| *s <= 0)
    {
        errors.push(FieldError::invalid(
            &path.child("terminationGracePeriodSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
}

/// `postStart`, `preStop`, and the signal that ends the container.
pub(super) fn lifecycle(
    errors: &mut ErrorList,
    path: &Path,
    lifecycle: &Object,
    context: &Context<'_>,
) {
    for name in ["postStart", "preStop"] {
        if let Some(hook) = lifecycle.object(name) {
            handler(errors, &path.child(name), hook, context);
        }
    }
    if let Some(signal) = lifecycle.text_opt("stopSignal") {
        stop_signal(errors, &path.child("stopSignal"), signal, context.os);
    }
}

fn stop_signal(errors: &mut ErrorList, path: &Path, signal: &str, os: Option<&str>) {
    match os {
        None => errors.push(FieldError::forbidden(
            path,
            "may not be set for containers with empty `spec.os.name`",
        )),
        Some("windows") => one_of(errors, path, signal, &["SIGKILL", "SIGTERM"]),
        Some("linux") => {
            let known = LINUX_SIGNALS.contains(&signal);
            if !known {
                errors.push(FieldError::not_supported(path, signal, LINUX_SIGNALS));
            }
        }
        Some(_) => {}
    }
}

/// Exactly one of the things a probe or hook can do.
fn handler(errors: &mut ErrorList, path: &Path, handler: &Object, context: &Context<'_>) {
    let mut found = 0;
    for name in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let Some(action) = handler.object(name) else {
            continue;
        };
        let at = path.child(name);
        found += 1;
        if found > 1 {
            errors.push(FieldError::forbidden(
                &at,
                "may not specify more than 1 handler type",
            ));
            continue;
        }
        match name {
            "exec" if action.list("command").is_empty() => {
                errors.push(FieldError::required(&at.child("command"), ""));
            }
            "httpGet" => http_get(errors, &at, action),
            "tcpSocket" => ports::number_or_name(errors, &at.child("port"), action.get("port")),
            "grpc" => ports::number(errors, &at.child("port"), action.int("port").unwrap_or(0)),
            "sleep" => {
                let seconds = action.int("seconds").unwrap_or(0);
                if let Some(grace) = context.grace_seconds
                    && !(0..=grace).contains(&seconds)
                {
                    errors.push(FieldError::invalid(
                        &at,
                        seconds,
                        format!(
                            "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                        ),
                    ));
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn http_get(errors: &mut ErrorList, path: &Path, action: &Object) {
    if action.text("path").is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
    }
    ports::number_or_name(errors, &path.child("port"), action.get("port"));
    one_of(
        errors,
        &path.child("scheme"),
        action.text("scheme"),
        &["HTTP", "HTTPS"],
    );
    for (_, header) in action.objects("httpHeaders") {
        let name = header.text("name");
        text(
            errors,
            &path.child("httpHeaders"),
            name,
            names::http_header_name(name),
        );
    }
}

/// Sorted, as messages list them.
const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];
