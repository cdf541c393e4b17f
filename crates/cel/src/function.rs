//! Functions: rows of tables, one an overload.
//!
//! A row says how the overload is called and typed, what it costs, and how it is evaluated. Arguments come with the receiver first. At run time the first
//! overload whose parameters fit the arguments is taken; those of operators take all values and decide themselves.

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    cost::Cost,
    error::EvalError,
    library,
    types::{self, Type},
    value::Value,
};

/// Evaluates an overload.
pub(crate) type Eval = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// An overload as it stands in a table.
pub(crate) struct Row {
    /// Of the function, `indexOf`; dots in it are part of the name: `sets.contains`.
    pub(crate) function: &'static str,
    /// `string.(string, int) -> int`; without the receiver for global functions.
    pub(crate) signature: &'static str,
    pub(crate) cost: Cost,
    pub(crate) eval: Eval,
}

/// An overload, its signature read.
pub(crate) struct Overload {
    pub(crate) function: &'static str,
    pub(crate) is_member: bool,
    /// With the receiver first.
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) cost: Cost,
    pub(crate) eval: Eval,
    /// Whether variables stand in the signature.
    pub(crate) is_generic: bool,
}

/// A function: its overloads in order.
#[derive(Default)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: Vec<Overload>,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for row in library::TABLES.iter().flat_map(|table| table.iter()) {
        let function = functions.entry(row.function).or_default();
        function.name = row.function;
        function.overloads.push(Overload::read(row));
    }
    functions
});

/// The function of a name.
pub(crate) fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

impl Overload {
    fn read(row: &Row) -> Self {
        let (params, result) = row
            .signature
            .split_once(" -> ")
            .expect("a signature has a result");
        let (target, args) = params
            .strip_suffix(')')
            .and_then(|p| match p.strip_prefix('(') {
                Some(args) => Some((None, args)),
                None => p
                    .split_once(".(")
                    .map(|(target, args)| (Some(target), args)),
            })
            .expect("a signature has parameters");
        let params: Vec<Type> = target
            .into_iter()
            .chain(types::split(args))
            .map(types::parse)
            .collect();
        let result = types::parse(result);
        let is_generic = params.iter().chain([&result]).any(has_param);
        Self {
            function: row.function,
            is_member: target.is_some(),
            is_generic,
            params,
            result,
            cost: row.cost,
            eval: row.eval,
        }
    }

    /// Whether values fit the parameters, as far as values tell.
    pub(crate) fn fits(&self, args: &[Value<'_>]) -> bool {
        self.params.len() == args.len()
            && self
                .params
                .iter()
                .zip(args)
                .all(|(ty, value)| fits(ty, value))
    }
}

fn has_param(ty: &Type) -> bool {
    match ty {
        Type::Param(_) => true,
        Type::List(of) | Type::Optional(of) | Type::Type(of) => has_param(of),
        Type::Map(map) => has_param(&map.0) || has_param(&map.1),
        _ => false,
    }
}

fn fits(ty: &Type, value: &Value<'_>) -> bool {
    match (ty, value) {
        (Type::Dyn | Type::Param(_), _)
        | (Type::Null, Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Uint, Value::Uint(_))
        | (Type::Double, Value::Double(_))
        | (Type::String, Value::String(_))
        | (Type::Bytes, Value::Bytes(_))
        | (Type::Duration, Value::Duration(_))
        | (Type::Timestamp, Value::Timestamp(_))
        | (Type::Map(_), Value::Map(_))
        | (Type::Type(_), Value::Type(_))
        | (Type::Optional(_), Value::Optional(_)) => true,
        // The first item speaks for all.
        (Type::List(items), Value::List(list)) => list.get(0).is_none_or(|item| fits(items, &item)),
        (Type::Opaque(name), Value::Opaque(value)) => value.type_name() == *name,
        _ => false,
    }
}
