//! What can be seen to be wrong in literals: durations, timestamps and patterns that do not parse.

use super::Checked;
use crate::{
    ast::{Expr, Id},
    library::{regex, times},
    source::{CompileErrors, Issues},
    value::Value,
};

/// Checks the literal arguments of `duration`, `timestamp` and `matches`.
pub(crate) fn check_literals(checked: &Checked, source: &str) -> Result<(), CompileErrors> {
    let mut issues = Issues::new(source);
    for at in 0..checked.ast.len() {
        let id = Id(u32::try_from(at).unwrap_or(u32::MAX));
        let Expr::Call { function, args, .. } = checked.ast.node(id) else {
            continue;
        };
        let Some((arg, Expr::Literal(Value::String(text)))) =
            args.first().map(|arg| (*arg, checked.ast.node(*arg)))
        else {
            continue;
        };
        let valid = match &**function {
            "duration" => times::parse_duration(text).is_some(),
            "timestamp" => times::parse_timestamp(text).is_some(),
            "matches" => args.len() != 1 || regex::compile(text).is_ok(),
            _ => true,
        };
        if !valid {
            issues.report(
                checked.ast.offset(arg),
                format!("invalid {function} argument"),
            );
        }
    }
    issues.finish()
}
