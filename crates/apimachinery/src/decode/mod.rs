//! Bodies into objects: JSON and YAML, by schema, with what strict validation finds.
//!
//! One pass over the text prunes unknown fields, finds unknown and duplicate ones, checks types, brings quantities and times into their
//! canonical form, and drops and fills zero values as a Go struct would ([`canonical`]). Field names match exactly, case included.
//! A tree that a patch made is decoded by writing it out and reading it again, which is what upstream does, too.
//!
//! Errors are worded as those of Go's decoder. Bodies are bounded by the server before they come here; nesting is bounded here.

mod bytes;
pub(crate) mod canonical;
mod scan;
mod typed;
mod yaml;

use std::borrow::Cow;

use serde_json::Value;

use crate::{Object, encode, meta, schema::TypeRef};
use scan::{Kind, Path, Scanner};

pub use scan::no_value;
pub(crate) use typed::plain_go_type as go_type;
pub use yaml::to_json as yaml_to_json;

/// At most this many findings are kept, as upstream does.
const MAX_FINDINGS: usize = 100;

/// An object and what is dubious about the text it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Pruned and canonical.
    pub object: Object,
    /// `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the order of the text.
    pub findings: Vec<String>,
    /// Whether there are empty lists, maps or strings of bytes in it that storage does not tell from none ([`settle`]).
    pub kept_empty: bool,
}

/// A body that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No JSON at all.
    #[error("{0}")]
    Syntax(String),
    /// JSON, but not of this type.
    #[error("{0}")]
    Type(String),
}

/// The message of strict validation: `strict decoding error: unknown field "a", duplicate field "b"`.
pub fn strict_error(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}

#[derive(Default)]
struct Findings {
    /// The first error that ended Go's decoding: it is told, whatever was found before.
    fatal: Option<String>,
    /// First type error.
    error: Option<String>,
    list: Vec<String>,
    /// Keep what is empty where it does not show, too.
    keep: bool,
    kept_empty: bool,
}

impl Findings {
    fn duplicate(&mut self, path: String) {
        self.push(format!("duplicate field {}", crate::quote(&path)));
    }

    fn unknown(&mut self, path: String) {
        self.push(format!("unknown field {}", crate::quote(&path)));
    }

    fn push(&mut self, finding: String) {
        if self.list.len() < MAX_FINDINGS && !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }
}

/// Decodes an object of this type. `null` is an empty one.
///
/// # Errors
/// What is no JSON, and values of the wrong type.
pub fn json(body: &[u8], ty: TypeRef<'_>) -> Result<Decoded, DecodeError> {
    decode(body, ty, false)
}

/// Decodes an object that validation is going to judge: what was sent empty is there, even where it would not show. Before others see
/// it as JSON, it is to be [hidden](hide), and before it is stored, [settled](settle).
///
/// # Errors
/// What is no JSON, and values of the wrong type.
pub fn json_to_judge(body: &[u8], ty: TypeRef<'_>) -> Result<Decoded, DecodeError> {
    decode(body, ty, true)
}

fn decode(body: &[u8], ty: TypeRef<'_>, keep: bool) -> Result<Decoded, DecodeError> {
    let text = utf8(body);
    let mut findings = Findings {
        keep,
        ..Findings::default()
    };
    let mut decoder = typed::Decoder {
        scanner: Scanner::new(&text),
        findings: &mut findings,
    };
    let value = decoder.root(ty).map_err(|e| DecodeError::Syntax(e.0))?;
    if let Some(error) = findings.fatal.or(findings.error) {
        return Err(DecodeError::Type(error));
    }
    let object = match value {
        Value::Object(object) => object,
        _ => match json(b"{}", ty) {
            Ok(empty) => empty.object,
            Err(error) => return Err(error),
        },
    };
    Ok(Decoded {
        object,
        findings: findings.list,
        kept_empty: findings.kept_empty,
    })
}

/// What storage makes of an object in which empty lists and maps were kept: nothing stands in their place.
pub fn settle(object: &mut Object, ty: TypeRef<'_>) {
    in_place(object, |value| canonical::settle(ty, value));
}

/// What JSON shows of an object in which empty lists and maps were kept: none where `omitempty` drops it.
pub fn hide(object: &mut Object, ty: TypeRef<'_>) {
    let is_reset = is_reset(object);
    in_place(object, |value| {
        if is_reset || canonical::has_empty(value) {
            canonical::hide(ty, value);
        }
    });
    if is_reset {
        meta::metadata_mut(object).insert("managedFields".to_owned(), Value::Array(Vec::new()));
    }
}

/// Whether an object orders to forget who owns what of it, which only the tracking of ownership can.
fn is_reset(object: &Object) -> bool {
    let owners = meta::metadata(object).and_then(|metadata| metadata.get("managedFields"));
    owners.is_some_and(|owners| owners.as_array().is_some_and(Vec::is_empty))
}

fn in_place(object: &mut Object, change: impl FnOnce(&mut Value)) {
    let mut value = Value::Object(std::mem::take(object));
    change(&mut value);
    if let Value::Object(changed) = value {
        *object = changed;
    }
}

/// What is dubious about a text that is to be of some type, at whose top there may be a list.
pub(crate) fn check(body: &[u8], ty: TypeRef<'_>) -> Result<Vec<String>, DecodeError> {
    let text = utf8(body);
    let mut findings = Findings::default();
    let mut decoder = typed::Decoder {
        scanner: Scanner::new(&text),
        findings: &mut findings,
    };
    decoder.root(ty).map_err(|e| DecodeError::Syntax(e.0))?;
    match findings.error {
        Some(error) => Err(DecodeError::Type(error)),
        None => Ok(findings.list),
    }
}

/// Whether a text is JSON at all.
pub(crate) fn syntax(body: &[u8]) -> Result<(), DecodeError> {
    let text = utf8(body);
    let mut scanner = Scanner::new(&text);
    scanner
        .skip()
        .and_then(|()| scanner.end())
        .map_err(|e| DecodeError::Syntax(e.0))
}

/// Text as Go reads it. The library takes ten times as long as it needs to look at text that is well formed.
fn utf8(body: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(body) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(body),
    }
}

/// What a text begins with, as Go's type errors name it; `invalid` if that is nothing.
pub fn kind_name(body: &[u8]) -> &'static str {
    let text = utf8(body);
    Scanner::new(&text).peek().map_or("invalid", Kind::name)
}

/// Decodes a tree anew by a type: after a patch, or for another version.
///
/// # Errors
/// Values of the wrong type.
pub fn object(object: &Object, ty: TypeRef<'_>) -> Result<Decoded, DecodeError> {
    let mut body = Vec::new();
    encode::object(object, &mut body);
    json(&body, ty)
}

/// Decodes any JSON, finding duplicate fields.
///
/// # Errors
/// What is no JSON.
pub fn untyped(body: &[u8]) -> Result<(Value, Vec<String>), DecodeError> {
    let text = utf8(body);
    let mut findings = Findings::default();
    let mut scanner = Scanner::new(&text);
    let value = scanner
        .value(&mut Path::ROOT.clone(), &mut |path| {
            findings.duplicate(path)
        })
        .and_then(|value| scanner.end().map(|()| value))
        .map_err(|e| DecodeError::Syntax(e.0))?;
    Ok((value, findings.list))
}

/// The body is no object with a version and a kind. Worded as upstream's, without the body that it quotes in the end.
const VERSION_KIND: &str = "couldn't get version/kind; json parse error: ";
/// Go prints the struct that it decodes into.
const VERSION_KIND_STRUCT: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// What is wrong with a tree that is to be an object and is none.
pub fn no_object_error(tree: &Value) -> String {
    match version_kind(tree.to_string().as_bytes()) {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    }
}

/// `apiVersion` and `kind` of a JSON body; empty if absent.
///
/// # Errors
/// `couldn't get version/kind; json parse error: …`.
pub fn version_kind(body: &[u8]) -> Result<(String, String), DecodeError> {
    let text = utf8(body);
    let syntax = |e: scan::SyntaxError| DecodeError::Syntax(format!("{VERSION_KIND}{}", e.0));
    let mut scanner = Scanner::new(&text);
    let mut found = (String::new(), String::new());
    let mut error = None;
    let kind = scanner.peek().map_err(syntax)?;
    if kind != Kind::Object {
        // Go checks the syntax of the whole before it looks at any of it.
        scanner
            .skip()
            .and_then(|()| scanner.end())
            .map_err(syntax)?;
        if kind == Kind::Null {
            return Ok(found);
        }
        let message = format!(
            "json: cannot unmarshal {} into Go value of type {VERSION_KIND_STRUCT}",
            kind.name()
        );
        return Err(DecodeError::Type(format!("{VERSION_KIND}{message}")));
    }
    let mut key = scanner.first_key().map_err(syntax)?;
    while let Some(name) = key {
        let target = match &*name {
            "apiVersion" => Some(&mut found.0),
            "kind" => Some(&mut found.1),
            _ => None,
        };
        match (target, scanner.peek().map_err(syntax)?) {
            (Some(target), Kind::String) => {
                *target = scanner.string().map_err(syntax)?.into_owned()
            }
            (Some(_), Kind::Null) | (None, _) => scanner.skip().map_err(syntax)?,
            (Some(_), kind) => {
                scanner.skip().map_err(syntax)?;
                error.get_or_insert_with(|| {
                    let kind = kind.name();
                    format!(
                        "json: cannot unmarshal {kind} into Go struct field .{name} of type string"
                    )
                });
            }
        }
        key = scanner.next_key().map_err(syntax)?;
    }
    scanner.end().map_err(syntax)?;
    match error {
        Some(message) => Err(DecodeError::Type(format!("{VERSION_KIND}{message}"))),
        None => Ok(found),
    }
}
