//! `/statusz` and `/flagz`: what a person wants to know of a running component at a glance, as text (KEP-4827, KEP-4828); as JSON for who
//! asks for the object by its kind in `Accept`.

use http::{HeaderMap, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answer::{self, Body, text};

const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";
const GROUP: &str = "config.k8s.io";
const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];

/// Which component this is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `kube-scheduler`
    pub name: &'static str,
    /// The document of `/version`.
    pub version: serde_json::Map<String, Value>,
    /// When it was started.
    pub started: Timestamp,
    /// The flags that it was given.
    pub flags: Vec<(String, String)>,
}

/// In which form a page is wanted.
enum Form {
    Text,
    Object(&'static str),
    None,
}

fn form(headers: &HeaderMap, kind: &str) -> Form {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return Form::Text;
    };
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let says = |name: &str, value: &str| {
            parameters
                .iter()
                .any(|parameter| parameter.split_once('=') == Some((name, value)))
        };
        match media_type {
            "text/plain" | "text/*" | "*/*" => return Form::Text,
            "application/json" | "application/*" if says("g", GROUP) && says("as", kind) => {
                if let Some(version) = VERSIONS.into_iter().find(|version| says("v", version)) {
                    return Form::Object(version);
                }
            }
            _ => {}
        }
    }
    Form::None
}

impl Identity {
    fn respond(
        &self,
        headers: &HeaderMap,
        kind: &str,
        as_text: impl FnOnce() -> String,
        fields: impl FnOnce() -> Value,
    ) -> Response<Body> {
        match form(headers, kind) {
            Form::Text => text(StatusCode::OK, as_text()),
            Form::None => answer::status(&apimachinery::Status::not_acceptable(&[
                "text/plain",
                "application/json",
            ])),
            Form::Object(version) => {
                let mut object = json!({
                    "kind": kind,
                    "apiVersion": format!("{GROUP}/{version}"),
                    "metadata": { "name": self.name },
                });
                if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields()) {
                    object.extend(fields);
                }
                answer::json(StatusCode::OK, &object)
            }
        }
    }

    /// `/statusz` at this moment; `paths` are those that the component serves.
    pub fn statusz(&self, headers: &HeaderMap, now: Timestamp, paths: &[&str]) -> Response<Body> {
        let up = now.duration_since(self.started).as_secs().max(0);
        let version = self.version.get("gitVersion").and_then(Value::as_str);
        let version = version.unwrap_or_default().trim_start_matches('v');
        let emulated: Vec<&str> = version.splitn(3, '.').take(2).collect();
        let emulated = emulated.join(".");
        self.respond(
            headers,
            "Statusz",
            || {
                format!(
                    "\n{} statusz\n{WARNING}\n\nStarted: {}\nUp: {} hr {:02} min {:02} sec\nBinary version: {version}\nEmulation version: {emulated}\nPaths: {}\n",
                    self.name,
                    self.started.strftime("%a %b %e %H:%M:%S UTC %Y"),
                    up / 3600,
                    up / 60 % 60,
                    up % 60,
                    paths.join(" "),
                )
            },
            || {
                json!({
                    "startTime": self.started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                    "uptimeSeconds": up,
                    "goVersion": "",
                    "binaryVersion": version,
                    "emulationVersion": emulated,
                    "paths": paths,
                })
            },
        )
    }

    /// `/flagz`
    pub fn flagz(&self, headers: &HeaderMap) -> Response<Body> {
        let mut flags = self.flags.clone();
        flags.sort();
        self.respond(
            headers,
            "Flagz",
            || {
                let lines: String = flags
                    .iter()
                    .map(|(name, value)| format!("{name}={value}\n"))
                    .collect();
                format!("\n{} flagz\n{WARNING}\n\n{lines}", self.name)
            },
            || {
                let flags = flags.iter().cloned();
                let flags = flags.map(|(name, value)| (name, Value::from(value)));
                json!({ "flags": flags.collect::<serde_json::Map<_, _>>() })
            },
        )
    }
}
