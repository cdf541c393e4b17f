//! Paths of fields in a schema: `.spec.x`, `.map['key']`. For `fieldPath` of rules and for selectable fields.

use apimachinery::field::Path;

use crate::schema::Structural;

/// How a path may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// With dots alone.
    Dots,
    /// Also `['key']`.
    Brackets,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Found<'s> {
    /// As it stands in complaints: fields by dots, keys of maps in brackets.
    pub(crate) path: Path,
    /// The schema there; none below `additionalProperties: true`.
    pub(crate) schema: Option<&'s Structural>,
}

/// Follows a path.
///
/// # Errors
/// As upstream says them: `does not refer to a valid field`.
pub(crate) fn resolve<'s>(
    json_path: &str,
    schema: &'s Structural,
    notation: Notation,
) -> Result<Found<'s>, String> {
    let mut found = Found {
        path: Path::default(),
        schema: Some(schema),
    };
    let mut tokens = Tokens(json_path);
    while let Some(token) = tokens.next() {
        match token {
            "[" => {
                if notation == Notation::Dots {
                    return Err("array notation is not allowed".to_owned());
                }
                let token = tokens.next().ok_or("unexpected end of JSON path")?;
                let quoted = token
                    .strip_prefix('\'')
                    .and_then(|t| t.strip_suffix('\''))
                    .ok_or_else(|| format!("expected single quoted string but got {token}"))?;
                let name = unescape(quoted)?;
                found = found.step(&name)?;
                match tokens.next() {
                    Some("]") => {}
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err("unexpected end of JSON path".to_owned()),
                }
            }
            "." => {
                let name = tokens.next().ok_or("unexpected end of JSON path")?;
                found = found.step(name)?;
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl<'s> Found<'s> {
    fn step(self, name: &str) -> Result<Self, String> {
        const INVALID: &str = "does not refer to a valid field";
        let schema = self.schema.ok_or(INVALID)?;
        if !schema.properties.is_empty() {
            return Ok(Self {
                path: self.path.child(name),
                schema: Some(schema.property(name).ok_or(INVALID)?),
            });
        }
        if schema.additional.is_set() {
            return Ok(Self {
                path: self.path.key(name),
                schema: schema.additional.schema().map(|s| &**s),
            });
        }
        Err(INVALID.to_owned())
    }
}

/// `.`, `[`, `]`, quoted strings, and what is between them.
struct Tokens<'t>(&'t str);

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let text = self.0;
        let first = text.chars().next()?;
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let mut escaped = false;
                text.char_indices()
                    .skip(1)
                    .find(|(_, c)| {
                        let ends = *c == '\'' && !escaped;
                        escaped = *c == '\\';
                        ends
                    })
                    .map_or(text.len(), |(at, _)| at + 1)
            }
            _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => out.push(c),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            _ => return Err("invalid string literal: invalid syntax".to_owned()),
        }
    }
    Ok(out)
}
