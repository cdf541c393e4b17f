//! What can be seen to be wrong with `'…'.format([…])` where both are literals: clauses that do not parse, too few or too many arguments, and
//! arguments of types that their clauses do not print.

use super::Checked;
use crate::{
    ast::{Expr, Id},
    library::strings::format::{clause, rule},
    source::Issues,
    types::Type,
    value::Value,
};

/// Checks the literal formats of an expression.
pub(crate) fn check_formats(checked: &Checked, issues: &mut Issues<'_>) {
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
        let (_, verb, after) = clause(rest).map_err(|message| {
            (
                None,
                format!("could not parse formatting clause: {message}"),
            )
        })?;
        if let Some(refused) = refused(checked, verb, *argument) {
            return Err((
                Some(refused),
                format!(
                    "error during formatting: {}, was given {}",
                    rule(verb),
                    checked.type_of(refused).name()
                ),
            ));
        }
        used += 1;
        rest = after;
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

/// What of an argument a clause does not print, as far as literals show it.
fn refused(checked: &Checked, verb: char, id: Id) -> Option<Id> {
    if !prints(verb, checked.type_of(id)) {
        return Some(id);
    }
    if verb != 's' {
        return None;
    }
    match checked.ast.node(id) {
        Expr::List(elements) => elements
            .iter()
            .find_map(|element| refused(checked, verb, element.value)),
        Expr::Map(entries) => entries.iter().find_map(|entry| {
            refused(checked, verb, entry.key).or_else(|| refused(checked, verb, entry.value))
        }),
        _ => None,
    }
}

/// Whether a clause prints values of a type.
fn prints(verb: char, ty: &Type) -> bool {
    match (verb, ty) {
        (_, Type::Dyn | Type::Error | Type::Param(_)) => true,
        ('s', ty) => !matches!(ty, Type::Object(_) | Type::Opaque(_) | Type::Optional(_)),
        // Not-a-number and the infinities may be written as texts.
        ('f' | 'e', ty) => matches!(ty, Type::Double | Type::String),
        ('b', Type::Bool) | ('x' | 'X', Type::String | Type::Bytes) => true,
        (_, ty) => matches!(ty, Type::Int | Type::Uint),
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
