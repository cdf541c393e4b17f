//! The functions of the language and of Kubernetes' libraries: one file a library, one table of rows in it, one table of tables here.

pub(crate) mod authorizer;
mod comprehensions;
pub(crate) mod conversions;
pub(crate) mod formats;
mod lists;
pub(crate) mod mutation;
mod net;
mod operators;
mod optionals;
mod quantities;
pub(crate) mod regex;
mod semver;
mod sets;
pub(crate) mod strings;
mod texts;
pub(crate) mod times;
mod urls;

use std::fmt;

use apimachinery::Quantity;

use crate::{cost::PER_CALL_LIMIT, error::EvalError, function::Row, types::Type, value::Value};

/// All tables. A function of several tables has its overloads in this order.
pub(crate) const TABLES: &[&[Row]] = &[
    operators::ROWS,
    conversions::ROWS,
    texts::ROWS,
    strings::ROWS,
    times::ROWS,
    optionals::ROWS,
    comprehensions::ROWS,
    lists::ROWS,
    sets::ROWS,
    regex::ROWS,
    urls::ROWS,
    quantities::ROWS,
    net::ROWS,
    formats::ROWS,
    semver::ROWS,
    authorizer::ROWS,
    mutation::ROWS,
];

/// Longest text that a function makes: going over it once costs more than any evaluation may.
const MAX_TEXT: usize = (PER_CALL_LIMIT as usize) * 16;
/// Longest list that a function makes.
const MAX_ITEMS: usize = PER_CALL_LIMIT as usize;

/// Values that only functions look into.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    /// `kubernetes.Quantity`.
    Quantity(Quantity),
    /// `kubernetes.URL`.
    Url(urls::Url),
    /// `net.IP`.
    Ip(net::Ip),
    /// `net.CIDR`.
    Cidr(net::Cidr),
    /// `kubernetes.NamedFormat`.
    Format(formats::Format),
    /// `kubernetes.Semver`.
    Semver(semver::Semver),
    /// `kubernetes.authorization.*`.
    Authorizer(authorizer::Step<'a>),
}

impl Opaque<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Authorizer(step) => step.type_name(),
        }
    }

    /// What costs are counted by: bytes of addresses, 1 of all else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => ip.bytes(),
            Self::Cidr(cidr) => cidr.bytes(),
            _ => 1,
        }
    }

    pub(crate) fn equals(&self, other: &Opaque<'_>) -> bool {
        match (self, other) {
            (Self::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Self::Url(a), Opaque::Url(b)) => a == b,
            (Self::Ip(a), Opaque::Ip(b)) => a == b,
            (Self::Cidr(a), Opaque::Cidr(b)) => a == b,
            (Self::Format(a), Opaque::Format(b)) => a.name == b.name,
            (Self::Semver(a), Opaque::Semver(b)) => a.cmp(b).is_eq(),
            _ => false,
        }
    }
}

/// The opaque type of a name.
pub(crate) fn opaque_type(name: &str) -> Option<Type> {
    const NAMES: [&str; 11] = [
        "kubernetes.Quantity",
        "kubernetes.URL",
        "net.IP",
        "net.CIDR",
        "kubernetes.NamedFormat",
        "kubernetes.Semver",
        "kubernetes.authorization.Authorizer",
        "kubernetes.authorization.PathCheck",
        "kubernetes.authorization.GroupCheck",
        "kubernetes.authorization.ResourceCheck",
        "kubernetes.authorization.Decision",
    ];
    NAMES
        .iter()
        .find(|known| **known == name)
        .map(|known| Type::Opaque(known))
}

/// Whether one evaluation function serves all overloads.
pub(crate) fn is_operator(function: &str) -> bool {
    function.starts_with('_') || matches!(function, "!_" | "-_" | "@in" | "size" | "dyn" | "type")
}

/// Whether a call with a constant is done when the expression is compiled.
pub(crate) fn is_conversion(function: &str) -> bool {
    matches!(
        function,
        "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint"
    )
}

pub(crate) type Result<'a> = std::result::Result<Value<'a>, EvalError>;

/// A call whose arguments are not of the types that its row states; the checker and [`crate::function::Overload::fits`] keep such away.
fn mismatch<'a>() -> Result<'a> {
    Err(EvalError::no_such_overload())
}

fn failed<'a>(message: impl fmt::Display) -> Result<'a> {
    Err(EvalError::failed(message.to_string()))
}

/// A text made by a function, if it is not too long.
fn text<'a>(made: String) -> Result<'a> {
    if made.len() > MAX_TEXT {
        return Err(EvalError::CostLimitExceeded);
    }
    Ok(Value::from(made))
}

/// The opaque value in an argument.
macro_rules! opaque {
    ($value:expr, $variant:ident) => {
        match $value {
            $crate::value::Value::Opaque(opaque) => match &**opaque {
                $crate::library::Opaque::$variant(inside) => inside,
                _ => return $crate::library::mismatch(),
            },
            _ => return $crate::library::mismatch(),
        }
    };
}

/// The insides of arguments; a call with others has no such overload.
macro_rules! arguments {
    ($args:expr, [$($pattern:pat),*]) => {
        let [$($pattern),*] = $args else {
            return $crate::library::mismatch();
        };
    };
}

/// Makes rows: `function, signature, cost, evaluation;`.
macro_rules! rows {
    ($($function:literal, $signature:literal, $cost:expr, $eval:expr;)*) => {
        pub(crate) const ROWS: &[$crate::function::Row] = &[
            $($crate::function::Row { function: $function, signature: $signature, cost: $cost, eval: $eval },)*
        ];
    };
}

use {arguments, opaque, rows};
