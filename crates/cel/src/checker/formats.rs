//! What can be seen to be wrong with `'…'.format([…])` where both are literals: clauses that do not parse, too few or too many arguments, and
//! arguments of types that their clauses do not print.

use super::Checked;
use crate::{
    ast::{Expr, Id},
    library::strings::format::precision,
    source::{CompileErrors, Issues},
    types::Type,
    value::Value,
};

/// Checks the literal formats of an expression.
pub(crate) fn check_formats(checked: &Checked, source: &str) -> Result<(), CompileErrors> {
    let mut issues = Issues::new(source);
    for at in 0..checked.ast.len() {
        let id = Id(u32::try_from(at).unwrap_or(u32::MAX));
        let Expr::Call {
            target: Some(target),
            function,
            args,
        } = checked.ast.node(id)
        else {
            continue;
        };
        let (Expr::Literal(Value::String(pattern)), [list]) =
            (checked.ast.node(*target), &args[..])
        else {
            continue;
        };
        let Expr::List(elements) = checked.ast.node(*list) else {
            continue;
        };
        if &**function == "format" {
            let given: Vec<Id> = elements.iter().map(|element| element.value).collect();
            if let Err((at, message)) = check(checked, pattern, &given) {
                issues.report(checked.ast.offset(at.unwrap_or(id)), message);
            }
        }
    }
    issues.finish()
}

/// What is wrong, and with which argument if with one.
type Wrong = (Option<Id>, String);

fn check(checked: &Checked, pattern: &str, given: &[Id]) -> Result<(), Wrong> {
    let mut rest = pattern;
    let mut used = 0;
    while let Some(percent) = rest.find('%') {
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Err((None, "unexpected end of string".to_owned()));
        }
        let Some(argument) = given.get(used) else {
            return Err((None, format!("index {used} out of range")));
        };
        let unparsed = |message: String| {
            (
                None,
                format!("could not parse formatting clause: {message}"),
            )
        };
        let (_, after) = precision(rest)
            .map_err(|message| unparsed(format!("error while parsing precision: {message}")))?;
        let Some(verb) = after.chars().next() else {
            return Err(unparsed("unexpected end of string".to_owned()));
        };
        if !"sdfebxXo".contains(verb) {
            return Err(unparsed(format!(
                "unrecognized formatting clause \"{verb}\""
            )));
        }
        let ty = checked.type_of(*argument);
        if !prints(verb, ty) {
            return Err((
                Some(*argument),
                format!(
                    "error during formatting: {}, was given {}",
                    rule(verb),
                    ty.name()
                ),
            ));
        }
        used += 1;
        rest = &after[verb.len_utf8()..];
    }
    if used < given.len() {
        let count = given.len();
        return Err((
            None,
            format!("too many arguments supplied to string.format (expected {used}, got {count})"),
        ));
    }
    Ok(())
}

/// Whether a clause prints values of a type.
fn prints(verb: char, ty: &Type) -> bool {
    match (verb, ty) {
        (_, Type::Dyn | Type::Error | Type::Param(_)) => true,
        ('s', Type::List(items)) => prints(verb, items),
        ('s', Type::Map(map)) => prints(verb, &map.0) && prints(verb, &map.1),
        ('s', ty) => !matches!(ty, Type::Object(_) | Type::Opaque(_) | Type::Optional(_)),
        ('f' | 'e', ty) => matches!(ty, Type::Double),
        ('b', Type::Bool) | ('x' | 'X', Type::String | Type::Bytes) => true,
        (_, ty) => matches!(ty, Type::Int | Type::Uint),
    }
}

fn rule(verb: char) -> &'static str {
    match verb {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    }
}

#[cfg(test)]
mod tests {
    use crate::Environment;

    #[test]
    fn formats_are_checked_before_they_run() {
        for (expression, wrong) in [
            ("'%s %d %.2f %%'.format(['a', 1, 1.5]) == ''", None),
            ("'%s'.format([[1, 'a', {'b': 1, 'c': true}]]) == ''", None),
            ("'%d'.format([dyn('a')]) == ''", None),
            (
                "'%z'.format([1])",
                Some(
                    "1:12: could not parse formatting clause: unrecognized formatting clause \"z\"",
                ),
            ),
            (
                "'%d'.format(['a'])",
                Some(
                    "1:14: error during formatting: decimal clause can only be used on integers, was given string",
                ),
            ),
            (
                "'%.3f'.format([1])",
                Some(
                    "1:16: error during formatting: fixed-point clause can only be used on doubles, was given int",
                ),
            ),
            ("'%d %d'.format([1])", Some("1:15: index 1 out of range")),
            (
                "'%d'.format([1, 2])",
                Some("1:12: too many arguments supplied to string.format (expected 1, got 2)"),
            ),
            ("'%'.format([1])", Some("1:11: unexpected end of string")),
            (
                "[1, 'a'] == []",
                Some("1:5: expected type 'int' but found 'string'"),
            ),
        ] {
            let compiled = Environment::new().compile(expression);
            let shown = compiled.err().map(|e| e.to_string());
            let first = shown.as_deref().and_then(|s| s.lines().next());
            assert_eq!(
                first,
                wrong.map(|w| format!("ERROR: <input>:{w}")).as_deref(),
                "{expression}"
            );
        }
    }
}
