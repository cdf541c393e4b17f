//! Kubernetes' quantities: `quantity('1Gi').isGreaterThan(quantity('500Mi'))`.

use apimachinery::Quantity;

use super::{Opaque, Result, arguments, failed, opaque, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "quantity", "(string) -> kubernetes.Quantity", Cost::Scan, quantity;
    "isQuantity", "(string) -> bool", Cost::Scan, is_quantity;
    "sign", "(kubernetes.Quantity) -> int", Cost::Fixed(1), sign;
    "isGreaterThan", "kubernetes.Quantity.(kubernetes.Quantity) -> bool", Cost::Fixed(1), is_greater;
    "isLessThan", "kubernetes.Quantity.(kubernetes.Quantity) -> bool", Cost::Fixed(1), is_less;
    "compareTo", "kubernetes.Quantity.(kubernetes.Quantity) -> int", Cost::Fixed(1), compare_to;
    "asApproximateFloat", "kubernetes.Quantity.() -> double", Cost::Fixed(1), as_float;
    "asInteger", "kubernetes.Quantity.() -> int", Cost::Fixed(1), as_integer;
    "isInteger", "kubernetes.Quantity.() -> bool", Cost::Fixed(1), is_integer;
    "add", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity", Cost::Fixed(1), add;
    "add", "kubernetes.Quantity.(int) -> kubernetes.Quantity", Cost::Fixed(1), add;
    "sub", "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity", Cost::Fixed(1), sub;
    "sub", "kubernetes.Quantity.(int) -> kubernetes.Quantity", Cost::Fixed(1), sub;
}

fn quantity<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    match text.parse::<Quantity>() {
        Ok(quantity) => Ok(Value::opaque(Opaque::Quantity(quantity))),
        Err(error) => failed(error),
    }
}

fn is_quantity<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text)]);
    Ok(Value::Bool(text.parse::<Quantity>().is_ok()))
}

fn sign<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::Int(i64::from(opaque!(value, Quantity).sign())))
}

fn is_greater<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [a, b]);
    Ok(Value::Bool(opaque!(a, Quantity) > opaque!(b, Quantity)))
}

fn is_less<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [a, b]);
    Ok(Value::Bool(opaque!(a, Quantity) < opaque!(b, Quantity)))
}

fn compare_to<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [a, b]);
    Ok(Value::Int(
        opaque!(a, Quantity).cmp(opaque!(b, Quantity)) as i64
    ))
}

fn as_float<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::Double(opaque!(value, Quantity).as_f64()))
}

fn as_integer<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match opaque!(value, Quantity).as_i64() {
        Some(number) => Ok(Value::Int(number)),
        None => failed("cannot convert value to integer"),
    }
}

fn is_integer<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::Bool(opaque!(value, Quantity).as_i64().is_some()))
}

/// The two sides; whole numbers count as quantities.
fn sides<'a>(args: &[Value<'a>], operation: fn(Quantity, Quantity) -> Quantity) -> Result<'a> {
    arguments!(args, [a, b]);
    let b = match b {
        Value::Int(number) => Quantity::from(*number),
        other => *opaque!(other, Quantity),
    };
    let result = operation(*opaque!(a, Quantity), b);
    Ok(Value::opaque(Opaque::Quantity(result)))
}

fn add<'a>(args: &[Value<'a>]) -> Result<'a> {
    sides(args, |a, b| a + b)
}

fn sub<'a>(args: &[Value<'a>]) -> Result<'a> {
    sides(args, |a, b| a - b)
}
