//! Kubernetes' functions of lists, and cel-go's extension for lists, version 3.

use std::cmp::Ordering;

use super::{MAX_ITEMS, Result, arguments, failed, mismatch, rows};
use crate::{
    cost::Cost,
    error::EvalError,
    value::{List, Value, compare, equal},
};

rows! {
    "isSorted", "list(int).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(uint).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(double).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(bool).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(duration).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(timestamp).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(string).() -> bool", Cost::Items, is_sorted;
    "isSorted", "list(bytes).() -> bool", Cost::Items, is_sorted;
    "sum", "list(int).() -> int", Cost::Items, |args| sum(args, Value::Int(0));
    "sum", "list(uint).() -> uint", Cost::Items, |args| sum(args, Value::Uint(0));
    "sum", "list(double).() -> double", Cost::Items, |args| sum(args, Value::Double(0.0));
    "sum", "list(duration).() -> duration", Cost::Items, |args| sum(args, Value::Duration(0));
    "max", "list(int).() -> int", Cost::Items, max;
    "max", "list(uint).() -> uint", Cost::Items, max;
    "max", "list(double).() -> double", Cost::Items, max;
    "max", "list(bool).() -> bool", Cost::Items, max;
    "max", "list(duration).() -> duration", Cost::Items, max;
    "max", "list(timestamp).() -> timestamp", Cost::Items, max;
    "max", "list(string).() -> string", Cost::Items, max;
    "max", "list(bytes).() -> bytes", Cost::Items, max;
    "min", "list(int).() -> int", Cost::Items, min;
    "min", "list(uint).() -> uint", Cost::Items, min;
    "min", "list(double).() -> double", Cost::Items, min;
    "min", "list(bool).() -> bool", Cost::Items, min;
    "min", "list(duration).() -> duration", Cost::Items, min;
    "min", "list(timestamp).() -> timestamp", Cost::Items, min;
    "min", "list(string).() -> string", Cost::Items, min;
    "min", "list(bytes).() -> bytes", Cost::Items, min;
    "indexOf", "list(A).(A) -> int", Cost::Items, index_of;
    "lastIndexOf", "list(A).(A) -> int", Cost::Items, last_index_of;
    "slice", "list(A).(int, int) -> list(A)", Cost::ListResult, slice;
    "flatten", "list(list(A)).() -> list(A)", Cost::Flatten, flatten;
    "flatten", "list(dyn).(int) -> list(dyn)", Cost::Flatten, flatten;
    "lists.range", "(int) -> list(int)", Cost::ListResult, range;
    "reverse", "list(A).() -> list(A)", Cost::ListResult, reverse;
    "distinct", "list(A).() -> list(A)", Cost::SelfCompare, distinct;
    "sort", "list(int).() -> list(int)", Cost::SelfCompare, sort;
    "sort", "list(uint).() -> list(uint)", Cost::SelfCompare, sort;
    "sort", "list(double).() -> list(double)", Cost::SelfCompare, sort;
    "sort", "list(bool).() -> list(bool)", Cost::SelfCompare, sort;
    "sort", "list(duration).() -> list(duration)", Cost::SelfCompare, sort;
    "sort", "list(timestamp).() -> list(timestamp)", Cost::SelfCompare, sort;
    "sort", "list(string).() -> list(string)", Cost::SelfCompare, sort;
    "sort", "list(bytes).() -> list(bytes)", Cost::SelfCompare, sort;
    "@sortByAssociatedKeys", "list(A).(list(int)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(uint)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(double)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(bool)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(duration)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(timestamp)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(string)) -> list(A)", Cost::SortBy, sort_by_keys;
    "@sortByAssociatedKeys", "list(A).(list(bytes)) -> list(A)", Cost::SortBy, sort_by_keys;
}

/// The order of two items; items of different kinds have none.
fn order(a: &Value<'_>, b: &Value<'_>) -> std::result::Result<Ordering, EvalError> {
    match compare(a, b) {
        Some(order) => Ok(order.unwrap_or(Ordering::Equal)),
        None => Err(EvalError::no_such_overload()),
    }
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let mut previous: Option<Value<'a>> = None;
    for item in list.iter() {
        if let Some(previous) = &previous
            && order(previous, &item)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let add = crate::function::lookup("_+_")
        .and_then(|function| function.overloads.first())
        .map(|overload| overload.eval);
    let Some(add) = add else { return mismatch() };
    list.iter().try_fold(zero, |sum, item| add(&[sum, item]))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, wanted: Ordering) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let mut items = list.iter();
    let Some(mut best) = items.next() else {
        return failed(format!("{name} called on empty list"));
    };
    for item in items {
        if order(&item, &best)? == wanted {
            best = item;
        }
    }
    Ok(best)
}

fn max<'a>(args: &[Value<'a>]) -> Result<'a> {
    extreme(args, "max", Ordering::Greater)
}

fn min<'a>(args: &[Value<'a>]) -> Result<'a> {
    extreme(args, "min", Ordering::Less)
}

fn place<'a>(at: Option<usize>) -> Result<'a> {
    Ok(Value::Int(
        at.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)),
    ))
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list), sought]);
    place(list.iter().position(|item| equal(&item, sought)))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list), sought]);
    place(
        (0..list.len())
            .rev()
            .find(|at| list.get(*at).is_some_and(|item| equal(&item, sought))),
    )
}

fn slice<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(
        args,
        [Value::List(list), Value::Int(start), Value::Int(end)]
    );
    if *start < 0 || *end < 0 {
        return failed(format!(
            "cannot slice({start}, {end}), negative indexes not supported"
        ));
    }
    if start > end {
        return failed(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        ));
    }
    let (from, to) = (
        usize::try_from(*start).unwrap_or(usize::MAX),
        usize::try_from(*end).unwrap_or(usize::MAX),
    );
    if to > list.len() {
        return failed(format!(
            "cannot slice({start}, {end}), list is length {}",
            list.len()
        ));
    }
    Ok(Value::list(
        (from..to).filter_map(|at| list.get(at)).collect(),
    ))
}

fn flatten<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (list, depth) = match args {
        [Value::List(list)] => (list, 1),
        [Value::List(list), Value::Int(depth)] => (list, *depth),
        _ => return mismatch(),
    };
    if depth < 0 {
        return failed("level must be non-negative");
    }
    let mut items = Vec::new();
    flatten_into(&mut items, list, depth.min(64))?;
    Ok(Value::list(items))
}

fn flatten_into<'a>(
    items: &mut Vec<Value<'a>>,
    list: &List<'a>,
    depth: i64,
) -> std::result::Result<(), EvalError> {
    for item in list.iter() {
        match item {
            Value::List(inner) if depth > 0 => flatten_into(items, &inner, depth - 1)?,
            other => items.push(other),
        }
        if items.len() > MAX_ITEMS {
            return Err(EvalError::CostLimitExceeded);
        }
    }
    Ok(())
}

fn range<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Int(count)]);
    // Costs are counted after the fact: what would exceed any limit is not even made.
    if *count > MAX_ITEMS as i64 {
        return Err(EvalError::CostLimitExceeded);
    }
    Ok(Value::list((0..*count).map(Value::Int).collect()))
}

fn reverse<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let mut items = list.clone().into_items();
    items.reverse();
    Ok(Value::list(items))
}

fn distinct<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    // The square of more items exceeds any limit.
    if list.len() > 1000 {
        return Err(EvalError::CostLimitExceeded);
    }
    let mut items: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        if !items.iter().any(|known| equal(known, &item)) {
            items.push(item);
        }
    }
    Ok(Value::list(items))
}

fn sort<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [list @ Value::List(_)]);
    sort_by_keys(&[list.clone(), list.clone()])
}

fn sort_by_keys<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list), Value::List(keys)]);
    if list.len() != keys.len() {
        return failed(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        ));
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.iter().zip(list.iter()).collect();
    if let Some((first, _)) = pairs.first() {
        let first = first.clone();
        for (key, _) in &pairs {
            if key.type_of() != first.type_of() {
                return failed("list elements must have the same type");
            }
            order(&first, key)?;
        }
    }
    pairs.sort_by(|(a, _), (b, _)| order(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        pairs.into_iter().map(|(_, item)| item).collect(),
    ))
}
