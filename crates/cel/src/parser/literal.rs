//! The values of literals: numbers, texts, bytes.

use std::sync::Arc;

use super::Parser;
use crate::{
    ast::{Expr, Id},
    lexer::Kind,
    value::Value,
};

impl Parser<'_> {
    pub(super) fn literal(&mut self) -> Id {
        let first = self.advance();
        let token = match first.kind {
            Kind::Minus => self.advance(),
            _ => first,
        };
        let negative = first.kind == Kind::Minus;
        let text = self.text(token);
        let value = match token.kind {
            Kind::True => Ok(Value::Bool(true)),
            Kind::False => Ok(Value::Bool(false)),
            Kind::Null => Ok(Value::Null),
            Kind::Int => int(text, negative)
                .map(Value::Int)
                .ok_or("invalid int literal"),
            Kind::Uint => uint(text).map(Value::Uint).ok_or("invalid uint literal"),
            Kind::Float => text
                .parse::<f64>()
                .ok()
                .filter(|f| f.is_finite())
                .map(|f| Value::Double(if negative { -f } else { f }))
                .ok_or("invalid double literal"),
            Kind::String => string(text).map(|s| Value::from(Arc::<str>::from(s))),
            _ => bytes(&text[1..]).map(|b| Value::Bytes(Arc::from(b))),
        };
        match value {
            Ok(value) => self.add(first.start, Expr::Literal(value)),
            Err(message) => {
                self.issues.report(first.start, message);
                self.add(first.start, Expr::Broken)
            }
        }
    }
}

fn int(text: &str, negative: bool) -> Option<i64> {
    let magnitude = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse::<u64>().ok()?,
    };
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn uint(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['u', 'U']);
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The inside of a quoted text, and whether escapes count in it.
fn inside(text: &str) -> (&str, bool) {
    let (text, raw) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let quotes = if text.len() >= 6 && (text.starts_with("\"\"\"") || text.starts_with("'''")) {
        3
    } else {
        1
    };
    (&text[quotes..text.len() - quotes], raw)
}

/// One piece of a text: a character, or a byte written as `\x41` or `\101`.
enum Piece {
    Char(char),
    Code(u8),
}

fn string(text: &str) -> Result<String, &'static str> {
    let (body, raw) = inside(text);
    let mut out = String::with_capacity(body.len());
    pieces(body, raw, &mut |piece| match piece {
        Piece::Char(c) => out.push(c),
        Piece::Code(code) => out.push(char::from(code)),
    })?;
    Ok(out)
}

fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let (body, raw) = inside(text);
    let mut out = Vec::with_capacity(body.len());
    pieces(body, raw, &mut |piece| match piece {
        Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        Piece::Code(code) => out.push(code),
    })?;
    Ok(out)
}

fn pieces(mut body: &str, raw: bool, push: &mut dyn FnMut(Piece)) -> Result<(), &'static str> {
    while let Some(c) = body.chars().next() {
        body = &body[c.len_utf8()..];
        if raw || c != '\\' {
            push(Piece::Char(c));
            continue;
        }
        let escape = body.chars().next().ok_or("found '\\' as last character")?;
        body = &body[escape.len_utf8()..];
        let code = |length: usize, radix: u32, body: &mut &str| {
            let (digits, rest) = body
                .split_at_checked(length)
                .ok_or("unable to unescape string")?;
            *body = rest;
            u32::from_str_radix(digits, radix).map_err(|_| "unable to unescape string")
        };
        let piece = match escape {
            'a' => Piece::Char('\u{7}'),
            'b' => Piece::Char('\u{8}'),
            'f' => Piece::Char('\u{c}'),
            'n' => Piece::Char('\n'),
            'r' => Piece::Char('\r'),
            't' => Piece::Char('\t'),
            'v' => Piece::Char('\u{b}'),
            '\\' | '\'' | '"' | '`' | '?' => Piece::Char(escape),
            'x' | 'X' => Piece::Code(u8::try_from(code(2, 16, &mut body)?).unwrap_or_default()),
            'u' | 'U' => {
                let length = if escape == 'u' { 4 } else { 8 };
                let code = code(length, 16, &mut body)?;
                Piece::Char(char::from_u32(code).ok_or("invalid unicode code point")?)
            }
            '0'..='3' => {
                let high = escape.to_digit(8).unwrap_or_default() * 64;
                let low = code(2, 8, &mut body)?;
                Piece::Code(u8::try_from(high + low).unwrap_or_default())
            }
            _ => return Err("unable to unescape string"),
        };
        push(piece);
    }
    Ok(())
}
