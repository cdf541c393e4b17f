//! cel-go's sets: lists whose order and repetition do not count.

use super::{Result, arguments, rows};
use crate::{
    cost::Cost,
    value::{List, Value},
};

rows! {
    "sets.contains", "(list(A), list(A)) -> bool", Cost::Product(1), contains;
    "sets.equivalent", "(list(A), list(A)) -> bool", Cost::Product(2), equivalent;
    "sets.intersects", "(list(A), list(A)) -> bool", Cost::Product(1), intersects;
}

fn covers(list: &List<'_>, items: &List<'_>) -> bool {
    items.iter().all(|item| list.contains(&item))
}

fn contains<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list), Value::List(items)]);
    Ok(Value::Bool(covers(list, items)))
}

fn equivalent<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(a), Value::List(b)]);
    Ok(Value::Bool(covers(a, b) && covers(b, a)))
}

fn intersects<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(a), Value::List(b)]);
    Ok(Value::Bool(a.iter().any(|item| b.contains(&item))))
}
