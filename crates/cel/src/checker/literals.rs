//! What can be seen to be wrong in literals: durations, timestamps and patterns that do not parse.

use super::Checked;
use crate::{
    ast::{Expr, Id},
    library::{regex, times},
    source::Issues,
    value::{Instant, Value},
};

/// Checks the literal arguments of `duration`, `timestamp` and `matches`.
pub(crate) fn check_literals(checked: &Checked, issues: &mut Issues<'_>) {
    for at in 0..checked.ast.len() {
        let id = Id(u32::try_from(at).unwrap_or(u32::MAX));
        let Expr::Call { function, args, .. } = checked.ast.node(id) else {
            continue;
        };
        let Some((arg, Expr::Literal(value))) =
            args.first().map(|arg| (*arg, checked.ast.node(*arg)))
        else {
            continue;
        };
        let valid = match (&**function, value) {
            ("duration", Value::String(text)) => times::parse_duration(text).is_some(),
            ("timestamp", Value::String(text)) => Instant::parse(text).is_some(),
            ("timestamp", Value::Int(second)) => Instant::from_second(*second).is_some(),
            ("matches", Value::String(text)) => regex::compile(text).is_ok(),
            _ => true,
        };
        if !valid {
            issues.report(
                checked.ast.offset(arg),
                format!("invalid {function} argument"),
            );
        }
    }
}
