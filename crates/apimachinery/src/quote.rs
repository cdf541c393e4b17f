//! Text in quotes as Go's `%q` prints it: that is how names and values stand in upstream's messages.

use std::fmt::Write;

/// `"a\x00b"`: printable characters as they are, all others escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let simple = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            _ => "",
        };
        // Writing to a string cannot fail.
        let _ = match c {
            _ if !simple.is_empty() => out.write_str(simple),
            '\0'..' ' | '\u{7f}' => write!(out, "\\x{:02x}", c as u32),
            _ if is_printable(c) => out.write_char(c),
            '\0'..='\u{ffff}' => write!(out, "\\u{:04x}", c as u32),
            _ => write!(out, "\\U{:08x}", c as u32),
        };
    }
    out.push('"');
    out
}

/// A list as Go prints it with `%q`: `["a" "b"]`.
pub fn quote_list(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(" "))
}

/// Near enough to Go's table: no controls, no spaces but the plain one, nothing that is invisible or private.
pub fn is_printable(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..
    );
    !c.is_control() && !invisible && (c == ' ' || !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_as_in_go() {
        for (text, expected) in [
            ("a", r#""a""#),
            ("a\0b", r#""a\x00b""#),
            ("\"\\\n\t", r#""\"\\\n\t""#),
            ("é😀'", r#""é😀'""#),
            ("\u{200b}\u{a0}\u{85}", r#""\u200b\u00a0\u0085""#),
            ("e\u{301}", "\"e\u{301}\""),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(
            quote_list(&["a".to_owned(), "\u{a0}".to_owned()]),
            r#"["a" "\u00a0"]"#
        );
    }
}
