//! Kubernetes' named formats: `format.dns1123Label().validate(name)` gives what is wrong, if anything is.

use apimachinery::names;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Opaque, Result, arguments, opaque, rows, urls};
use crate::{
    cost::Cost,
    value::{Instant, Value},
};

rows! {
    "format.named", "(string) -> optional_type(kubernetes.NamedFormat)", Cost::Fixed(1), named;
    "format.dns1123Label", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1123Label");
    "format.dns1123Subdomain", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1123Subdomain");
    "format.dns1035Label", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1035Label");
    "format.qualifiedName", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("qualifiedName");
    "format.dns1123LabelPrefix", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1123LabelPrefix");
    "format.dns1123SubdomainPrefix", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1123SubdomainPrefix");
    "format.dns1035LabelPrefix", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("dns1035LabelPrefix");
    "format.labelValue", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("labelValue");
    "format.uri", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("uri");
    "format.uuid", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("uuid");
    "format.byte", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("byte");
    "format.date", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("date");
    "format.datetime", "() -> kubernetes.NamedFormat", Cost::Unit, |_| constant("datetime");
    "validate", "kubernetes.NamedFormat.(string) -> optional_type(list(string))", Cost::Validate, validate;
}

/// A format: what it is called, how long the pattern is that its cost is counted by, and what it finds wrong with a text.
#[derive(Clone, Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    pub(crate) pattern_size: u64,
    check: fn(&str) -> Vec<String>,
}

/// What stands for the longest pattern where the format is not known.
pub(crate) const LONGEST_PATTERN: u64 = 128;
/// What stands for the longest name.
pub(crate) const LONGEST_NAME: u64 = 64;
/// The pattern by which upstream counts URLs, though neither it nor we match any.
const URI_PATTERN: u64 = 1_100;

const FORMATS: [Format; 13] = [
    format("dns1123Label", 30, names::dns1123_label),
    format("dns1123Subdomain", 60, names::dns1123_subdomain),
    format("dns1035Label", 30, names::dns1035_label),
    format("qualifiedName", 60, names::qualified_name),
    format("dns1123LabelPrefix", 30, |text| {
        names::dns1123_label(&names::mask_trailing_dash(text))
    }),
    format("dns1123SubdomainPrefix", 60, |text| {
        names::dns1123_subdomain(&names::mask_trailing_dash(text))
    }),
    format("dns1035LabelPrefix", 30, |text| {
        names::dns1035_label(&names::mask_trailing_dash(text))
    }),
    format("labelValue", 40, names::label_value),
    format("uri", URI_PATTERN, uri),
    format("uuid", 72, |text| {
        complaint(is_uuid(text), "does not match the UUID format")
    }),
    format("byte", 82, |text| {
        complaint(
            !text.is_empty() && STANDARD.decode(text).is_ok(),
            "invalid base64",
        )
    }),
    format("date", 130, |text| complaint(is_date(text), "invalid date")),
    format("datetime", 130, |text| {
        complaint(Instant::parse(text).is_some(), "invalid datetime")
    }),
];

const fn format(name: &'static str, pattern_size: u64, check: fn(&str) -> Vec<String>) -> Format {
    Format {
        name,
        pattern_size,
        check,
    }
}

fn complaint(good: bool, message: &str) -> Vec<String> {
    if good {
        Vec::new()
    } else {
        vec![message.to_owned()]
    }
}

fn uri(text: &str) -> Vec<String> {
    urls::parse(text).err().into_iter().collect()
}

/// With or without dashes, in either case.
fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let mut rest = text;
    for (at, length) in groups.into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else {
            return false;
        };
        if !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn find<'a>(name: &str) -> Option<Value<'a>> {
    FORMATS
        .iter()
        .find(|format| format.name == name)
        .map(|format| Value::opaque(Opaque::Format(format.clone())))
}

fn constant<'a>(name: &str) -> Result<'a> {
    Ok(find(name).expect("each row names a format of the table"))
}

fn named<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(name)]);
    Ok(find(name).map_or(Value::Optional(None), Value::some))
}

fn validate<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [format, Value::String(text)]);
    let complaints = (opaque!(format, Format).check)(text);
    if complaints.is_empty() {
        return Ok(Value::Optional(None));
    }
    let complaints = complaints.into_iter().map(Value::from).collect();
    Ok(Value::some(Value::list(complaints)))
}
