//! Rules of probes and lifecycle hooks.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{non_negatives, one_of, ports, text},
};

/// The three probes of a container.
pub(super) fn of_container(errors: &mut ErrorList, at: &Path, container: &Object, grace: i64) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.object(name) else {
            continue;
        };
        let path = at.child(name);
        validate(errors, &path, probe, grace);
        if name == "readinessProbe" {
            if let Some(seconds) = probe.int("terminationGracePeriodSeconds") {
                errors.push(FieldError::invalid(
                    &path.child("terminationGracePeriodSeconds"),
                    seconds,
                    "must not be set for readinessProbes",
                ));
            }
        } else if let Some(threshold) = probe.int("successThreshold").filter(|t| *t != 1) {
            errors.push(FieldError::invalid(
                &path.child("successThreshold"),
                threshold,
                "must be 1",
            ));
        }
    }
}

fn validate(errors: &mut ErrorList, path: &Path, probe: &Object, grace: i64) {
    handler(errors, path, probe, grace);
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

/// `postStart` and `preStop`.
pub(super) fn lifecycle(errors: &mut ErrorList, path: &Path, lifecycle: &Object, grace: i64) {
    for name in ["postStart", "preStop"] {
        if let Some(hook) = lifecycle.object(name) {
            handler(errors, &path.child(name), hook, grace);
        }
    }
}

/// Exactly one of the things a probe or hook can do.
fn handler(errors: &mut ErrorList, path: &Path, handler: &Object, grace: i64) {
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
                if seconds < 0 || seconds > grace {
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
