//! Bodies into objects and back: content type, version and kind, schema, defaults; strictness as the client wants it.

use std::sync::Arc;

use apimachinery::{
    Object,
    decode::{self, DecodeError},
    gvk::{GroupVersion, GroupVersionKind},
    meta,
    protobuf::{self, ProtobufError},
    status::Status,
};
use bytes::Bytes;
use serde_json::Value;

use super::{
    Call,
    options::{FieldValidation, WriteOptions},
};
use crate::{
    apiextensions::Custom,
    negotiation::{Accept, ContentEncoding, Encoding, encode_object},
};

impl Call<'_> {
    /// The object in a body, in the endpoint's version: checked against the schema, pruned, defaulted.
    pub(super) fn decode(&self, body: &Bytes, options: &WriteOptions) -> Result<Object, Status> {
        self.decode_as(&self.endpoint.row.gvk, body, options)
    }

    /// Of another kind than the endpoint's: a subresource's.
    pub(super) fn decode_as(
        &self,
        gvk: &GroupVersionKind,
        body: &Bytes,
        options: &WriteOptions,
    ) -> Result<Object, Status> {
        let encoding = ContentEncoding::of(&self.context.headers)?;
        let custom = self.custom(gvk).is_some();
        if custom && encoding == ContentEncoding::Protobuf {
            return Err(Status::unsupported_media_type(&[
                "application/json",
                "application/yaml",
            ]));
        }
        let (json, mut findings) = to_json(encoding, body, gvk, options.field_validation)?;
        let mut object = if custom {
            check_version(&json, body, gvk)?;
            self.decode_json(&json, gvk, &mut findings)?
        } else {
            // What a body that can be read says of itself stands in what was read; one that cannot be is first asked what it is.
            let decoded = self.decode_json(&json, gvk, &mut findings);
            match &decoded {
                Ok(object) => is_of(meta::api_version(object), meta::kind(object), gvk, body)?,
                Err(_) => check_version_and_kind(&json, body, gvk)?,
            }
            decoded?
        };
        self.take_findings_of(gvk, findings, options)?;
        object.insert(
            "apiVersion".to_owned(),
            gvk.group_version().to_string().into(),
        );
        // A custom kind's strategy judges the kind.
        if !custom {
            object.insert("kind".to_owned(), gvk.kind.as_ref().into());
        }
        if *gvk == self.endpoint.row.gvk {
            self.default(&mut object);
        }
        Ok(object)
    }

    /// Fills what was left out.
    pub(super) fn default(&self, object: &mut Object) {
        if self.endpoint.strategy().shares_labels(object) {
            self.context.note_shared_labels();
        }
        self.endpoint.default(object);
    }

    /// Decodes by the schema of the kind, without looking at version and kind.
    pub(super) fn decode_json(
        &self,
        json: &[u8],
        gvk: &GroupVersionKind,
        findings: &mut Vec<String>,
    ) -> Result<Object, Status> {
        self.decode_untold(json, gvk, findings)
            .map_err(|message| unhandled(gvk, &message))
    }

    /// The same; what is wrong is told by the decoder alone.
    pub(super) fn decode_untold(
        &self,
        json: &[u8],
        gvk: &GroupVersionKind,
        findings: &mut Vec<String>,
    ) -> Result<Object, String> {
        if let Some(custom) = self.custom(gvk) {
            let decoded = custom.decode(json).map_err(|e| e.to_string())?;
            findings.extend(decoded.findings);
            return Ok(decoded.object);
        }
        match api::facts::type_of(gvk) {
            Some(ty) => {
                // What is stored is judged before; all else is answered as it is shown.
                let is_stored = *gvk == self.endpoint.row.gvk && self.endpoint.cacher.is_some();
                let decoded = if is_stored {
                    decode::json_to_judge(json, ty)
                } else {
                    decode::json(json, ty)
                };
                let decoded = decoded.map_err(|error| error.to_string())?;
                if decoded.kept_empty {
                    self.context.note_kept_empty();
                }
                findings.extend(decoded.findings);
                Ok(decoded.object)
            }
            None => match decode::untyped(json).map_err(|e| e.to_string())? {
                (Value::Object(object), duplicates) => {
                    findings.extend(duplicates);
                    Ok(object)
                }
                _ => Ok(Object::new()),
            },
        }
    }

    /// The custom resource, unless the kind is a subresource's.
    pub(super) fn custom(&self, gvk: &GroupVersionKind) -> Option<&Arc<Custom>> {
        let custom = self.endpoint.custom.as_ref();
        custom.filter(|_| *gvk == self.endpoint.row.gvk)
    }

    /// Refuses or warns of what decoding an object of the resource found, as the client wants it.
    pub(super) fn take_findings(
        &self,
        findings: Vec<String>,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        self.take_findings_of(&self.endpoint.row.gvk, findings, options)
    }

    /// The same, of a kind of its own, such as a subresource's.
    fn take_findings_of(
        &self,
        gvk: &GroupVersionKind,
        findings: Vec<String>,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        match options.field_validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                self.warn_all(findings.into_iter().flat_map(warnings_of).collect());
            }
            FieldValidation::Strict if findings.is_empty() => {}
            FieldValidation::Strict => {
                return Err(unhandled(gvk, &decode::strict_error(&findings)));
            }
        }
        Ok(())
    }

    /// The options of a write as admission sees them: what the query says.
    pub(super) fn options_object(&self, kind: &str) -> Object {
        let mut object = Object::new();
        object.insert("kind".to_owned(), kind.into());
        object.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        for name in ["fieldManager", "fieldValidation"] {
            if let Some(value) = self.context.query.get(name) {
                object.insert(name.to_owned(), value.into());
            }
        }
        let dry_run: Vec<&str> = self.context.query.all("dryRun").collect();
        if !dry_run.is_empty() {
            object.insert("dryRun".to_owned(), dry_run.into());
        }
        object
    }
}

/// The body of a custom object states its kind, and its version, which is the wanted one.
fn check_version(json: &[u8], body: &Bytes, gvk: &GroupVersionKind) -> Result<(), Status> {
    let (version, kind) =
        decode::version_kind(json).map_err(|error| unrecognized(gvk, &error.to_string(), body))?;
    if GroupVersion::parse(&version).is_none() {
        let error = format!("unexpected GroupVersion string: {version}");
        return Err(unrecognized(gvk, &error, body));
    }
    if kind.is_empty() {
        let shown = String::from_utf8_lossy(json);
        let error = format!("Object 'Kind' is missing in '{shown}'");
        return Err(unrecognized(gvk, &error, body));
    }
    let wanted = gvk.group_version().to_string();
    if version == wanted {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "the API version in the data ({version}) does not match the expected API version ({wanted})"
    )))
}

/// Version and kind that the body states are the wanted ones; absent ones mean the wanted ones.
fn check_version_and_kind(json: &[u8], body: &Bytes, gvk: &GroupVersionKind) -> Result<(), Status> {
    let (version, kind) = decode::version_kind(json).map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            gvk.kind,
            summary(body)
        ))
    })?;
    is_of(&version, &kind, gvk, body)
}

/// The same, of what the body has been found to state.
fn is_of(version: &str, kind: &str, gvk: &GroupVersionKind, body: &Bytes) -> Result<(), Status> {
    let wanted = gvk.group_version().to_string();
    let version = if version.is_empty() { &wanted } else { version };
    let kind = if kind.is_empty() { &*gvk.kind } else { kind };
    if version == wanted && kind == &*gvk.kind {
        return Ok(());
    }
    let short = version.rsplit('/').next().unwrap_or_default();
    let handled = |reason: String| {
        Status::bad_request(format!(
            "{kind} in version {short:?} cannot be handled as a {}: {reason}",
            gvk.kind
        ))
    };
    let Some(group_version) = GroupVersion::parse(version) else {
        let error = format!("unexpected GroupVersion string: {version}");
        return Err(unrecognized(gvk, &error, body));
    };
    let known = is_registered(gvk, &group_version.kind(kind.to_owned()));
    Err(if !known {
        handled(not_registered(gvk, kind, version))
    } else if kind == &*gvk.kind {
        Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        ))
    } else {
        // Upstream names the Go package of its internal types.
        let package = match gvk.group.split('.').next() {
            None | Some("") => "core",
            Some(package) => package,
        };
        handled(format!(
            "converting ({short}.{kind}) to ({package}.{}): unknown conversion",
            gvk.kind
        ))
    })
}

/// Groups whose types upstream registers apart from all others, and where it says so.
const SCHEMES: [(&str, &str); 2] = [
    (
        "apiextensions.k8s.io",
        "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
    ),
    (
        "apiregistration.k8s.io",
        "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
    ),
];

/// Whether who serves `gvk` knows the kind that was sent.
pub(super) fn is_registered(gvk: &GroupVersionKind, sent: &GroupVersionKind) -> bool {
    let apart = SCHEMES.iter().any(|(group, _)| gvk.group == *group);
    let version = sent.group_version();
    let is_core = version == GroupVersion::new("", "v1");
    if api::facts::is_in_every_group(&sent.kind) {
        let served = |row: &&api::Resource| row.gvk.group_version() == version;
        return is_core
            || match apart {
                true => version == gvk.group_version(),
                false => api::kinds::TABLE.iter().any(served),
            };
    }
    let is_list = is_core && sent.kind == "List";
    (!apart || sent.group == gvk.group) && (is_list || api::facts::type_of(sent).is_some())
}

/// What upstream says of a kind that who serves `gvk` does not know.
pub(super) fn not_registered(gvk: &GroupVersionKind, kind: &str, version: &str) -> String {
    let scheme = SCHEMES.iter().find(|(group, _)| gvk.group == *group);
    let scheme = scheme.map_or("pkg/api/legacyscheme/scheme.go:30", |(_, scheme)| scheme);
    unregistered(gvk, kind, version, scheme)
}

/// The same of the Scale of a custom resource, which upstream registers apart as well.
pub(super) fn not_registered_for_custom(
    gvk: &GroupVersionKind,
    kind: &str,
    version: &str,
) -> String {
    unregistered(gvk, kind, version, "k8s.io/client-go/scale/util.go:146")
}

fn unregistered(gvk: &GroupVersionKind, kind: &str, version: &str, scheme: &str) -> String {
    let version = match version {
        "" => format!("the internal version of group {:?}", gvk.group),
        version => format!("version {version:?}"),
    };
    format!("no kind {kind:?} is registered for {version} in scheme {scheme:?}")
}

/// The body as JSON, with duplicate fields of YAML found on the way.
fn to_json(
    encoding: ContentEncoding,
    body: &Bytes,
    gvk: &GroupVersionKind,
    validation: FieldValidation,
) -> Result<(Bytes, Vec<String>), Status> {
    match encoding {
        ContentEncoding::Json => Ok((body.clone(), Vec::new())),
        ContentEncoding::Yaml => {
            let json = decode::yaml_to_json(body, false)
                .map_err(|error| unrecognized(gvk, &error, body))?;
            let findings = match validation {
                FieldValidation::Ignore => Vec::new(),
                _ => {
                    let duplicates = decode::yaml_to_json(body, true).err();
                    let told = duplicates.iter().map(|told| without_conversion(told));
                    told.map(str::to_owned).collect()
                }
            };
            Ok((json.into(), findings))
        }
        ContentEncoding::Protobuf => {
            let object = from_protobuf(body, gvk).map_err(|failure| match failure {
                ProtobufFailure::Envelope(error) => unrecognized(gvk, &error.to_string(), body),
                ProtobufFailure::Message(error) => unhandled(gvk, &error.to_string()),
            })?;
            Ok((
                serde_json::to_vec(&object)
                    .map_err(Status::internal)?
                    .into(),
                Vec::new(),
            ))
        }
    }
}

fn without_conversion(error: &str) -> &str {
    error.trim_start_matches("error converting YAML to JSON: ")
}

/// A finding as warnings: what is wrong with YAML is told line by line.
fn warnings_of(finding: String) -> Vec<String> {
    match without_conversion(&finding).strip_prefix("yaml: unmarshal errors:\n") {
        Some(lines) => lines.lines().map(|line| line.trim().to_owned()).collect(),
        None => vec![finding],
    }
}

/// The body is of the kind, and not what the kind allows.
fn unhandled(gvk: &GroupVersionKind, reason: &str) -> Status {
    let GroupVersionKind { version, kind, .. } = gvk;
    Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {reason}"
    ))
}

fn unrecognized(gvk: &GroupVersionKind, error: &str, body: &Bytes) -> Status {
    let error = without_conversion(error);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {error} ({})",
        gvk.kind,
        summary(body)
    ))
}

/// What a body begins with, for messages: text, or hexadecimal.
fn summary(body: &[u8]) -> String {
    const LIMIT: usize = 30;
    if body.is_empty() {
        return "<empty>".to_owned();
    }
    match std::str::from_utf8(body) {
        Ok(text) if text.starts_with('{') => {
            if text.len() > LIMIT {
                let mut end = LIMIT;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                format!("{} ...", &text[..end])
            } else {
                text.to_owned()
            }
        }
        _ => {
            let shown = &body[..body.len().min(LIMIT)];
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            if body.len() > LIMIT {
                format!("{hex} ...")
            } else {
                hex
            }
        }
    }
}

/// DeleteOptions in a body; of whatever group and version they say they are.
pub(super) fn delete_options(encoding: ContentEncoding, body: &Bytes) -> Result<Object, Status> {
    const KIND: &str = "DeleteOptions";
    let gvk = GroupVersionKind::new("", "v1", KIND);
    let bad = |error: DecodeError| Status::bad_request(error.to_string());
    let json = match encoding {
        ContentEncoding::Protobuf => {
            let object = from_protobuf(body, &gvk).map_err(|failure| {
                let (ProtobufFailure::Envelope(error) | ProtobufFailure::Message(error)) = failure;
                Status::bad_request(error.to_string())
            })?;
            let json = serde_json::to_vec(&object).map_err(Status::internal)?;
            Bytes::from(json)
        }
        ContentEncoding::Yaml => decode::yaml_to_json(body, false)
            .map_err(|error| Status::bad_request(without_conversion(&error)))?
            .into(),
        ContentEncoding::Json => body.clone(),
    };
    let (version, kind) = decode::version_kind(&json).map_err(bad)?;
    if GroupVersion::parse(&version).is_none() {
        let message = format!("unexpected GroupVersion string: {version}");
        return Err(Status::bad_request(message));
    }
    if !matches!(kind.as_str(), "" | KIND) {
        let version = if version.is_empty() {
            "meta.k8s.io/v1"
        } else {
            &version
        };
        return Err(Status::bad_request(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )));
    }
    match api::facts::meta_type(KIND) {
        Some(ty) => Ok(decode::json(&json, ty).map_err(bad)?.object),
        None => Err(Status::internal("DeleteOptions have no schema")),
    }
}

/// What is broken: upstream says so in other words.
enum ProtobufFailure {
    Envelope(ProtobufError),
    Message(ProtobufError),
}

/// The object in a protobuf envelope. Without version and kind the envelope means what is wanted.
fn from_protobuf(body: &Bytes, gvk: &GroupVersionKind) -> Result<Object, ProtobufFailure> {
    let bad = ProtobufFailure::Message;
    let envelope = protobuf::open(body).map_err(ProtobufFailure::Envelope)?;
    let version = match envelope.api_version {
        "" => gvk.group_version().to_string(),
        version => version.to_owned(),
    };
    let kind = if envelope.kind.is_empty() {
        gvk.kind.as_ref()
    } else {
        envelope.kind
    };
    let sent = GroupVersion::parse(&version).map(|gv| gv.kind(kind.to_owned()));
    // Of a kind that is not the wanted one, version and kind are all that matters: they are refused later.
    match sent
        .as_ref()
        .filter(|sent| *sent == gvk)
        .and_then(api::facts::type_of)
    {
        Some(ty) => protobuf::decode(envelope.raw, ty, &version, kind).map_err(bad),
        None => {
            let mut object = Object::new();
            object.insert("apiVersion".to_owned(), version.into());
            object.insert("kind".to_owned(), kind.into());
            if let Some(ty) = api::facts::type_of(gvk).filter(|_| kind == gvk.kind.as_ref()) {
                let decoded = protobuf::decode(envelope.raw, ty, "", "").map_err(bad)?;
                object.extend(decoded);
            }
            Ok(object)
        }
    }
}

/// An object in protobuf, in its envelope.
pub(super) fn protobuf_object(object: &Object, gvk: &GroupVersionKind) -> Result<Bytes, Status> {
    let accept = Accept {
        encoding: Encoding::Protobuf,
        ..Accept::default()
    };
    encode_object(object, gvk, accept)
}

/// A watch event in protobuf around an object that is one already: a bare `WatchEvent` with its length before it, as upstream frames
/// streams.
pub(super) fn protobuf_frame(kind: &str, object: &[u8]) -> Bytes {
    // type = 1, object = 2 { raw = 1 }
    let raw = field(1, object);
    let mut message = field(1, kind.as_bytes());
    message.extend_from_slice(&field(2, &raw));
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(message.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// A length-delimited field of a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(number << 3 | 2);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// A watch event in protobuf around an object that only one client sees.
pub(super) fn protobuf_event(kind: &str, object: &Object) -> Result<Bytes, Status> {
    let gvk = GroupVersion::parse(meta::api_version(object))
        .unwrap_or_default()
        .kind(meta::kind(object).to_owned());
    Ok(protobuf_frame(kind, &protobuf_object(object, &gvk)?))
}
