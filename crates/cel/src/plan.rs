//! A checked tree as it is evaluated: variables found, overloads chosen, constants computed.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ast::{Comprehension, Expr, Id, Name},
    checker::Checked,
    cost::Cost,
    error::EvalError,
    function::{Eval, Overload},
    library,
    types::Type,
    value::{Key, Map, Value},
};

/// A node to evaluate.
#[derive(Debug)]
pub(crate) enum Plan {
    Const(Value<'static>),
    /// A variable of a loop, by its place on the stack.
    Local(usize),
    Global(Name),
    Select(Box<Plan>, Name),
    Has(Box<Plan>, Name),
    OptionalSelect(Box<Plan>, Name),
    Index {
        operand: Box<Plan>,
        index: Box<Plan>,
        optional: bool,
    },
    And(Box<Plan>, Box<Plan>),
    Or(Box<Plan>, Box<Plan>),
    Conditional(Box<(Plan, Plan, Plan)>),
    /// `a.or(b)`, `a.orValue(b)`: the second is looked at only if the first has no value.
    OptionalOr {
        operand: Box<Plan>,
        otherwise: Box<Plan>,
        unwrap: bool,
    },
    NotStrictlyFalse(Box<Plan>),
    /// An operator: one function for all its overloads.
    Operator {
        eval: OperatorEval,
        cost: Cost,
        args: Vec<Plan>,
    },
    /// A call of whichever overload fits.
    Call {
        overloads: Vec<&'static Overload>,
        args: Vec<Plan>,
    },
    Matches {
        text: Box<Plan>,
        pattern: Arc<regex::Regex>,
        /// Of the pattern, in code points.
        size: u64,
    },
    List(Vec<(Plan, bool)>),
    Map(Vec<(Plan, Plan, bool)>),
    Object {
        ty: Type,
        fields: Vec<(Name, Plan, bool)>,
    },
    Fold(Box<Fold>),
    /// `accumulator + [items]`, in place.
    Append {
        accumulator: usize,
        items: Vec<Plan>,
    },
}

/// An evaluation function that prints as nothing of interest.
#[derive(Clone, Copy)]
pub(crate) struct OperatorEval(pub(crate) Eval);

impl std::fmt::Debug for OperatorEval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("_")
    }
}

/// A loop. Its accumulator and variables take the next places on the stack.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) range: Plan,
    pub(crate) init: Plan,
    pub(crate) condition: Plan,
    pub(crate) step: Plan,
    pub(crate) result: Plan,
    pub(crate) two_variables: bool,
}

/// Plans the root.
///
/// # Errors
/// Why a constant cannot be converted: conversions of constants are done here.
pub(crate) fn plan(checked: &Checked) -> Result<Plan, String> {
    let mut planner = Planner {
        checked,
        scope: Vec::new(),
        wrong: None,
    };
    let plan = planner.plan(checked.root);
    planner.wrong.map_or(Ok(plan), Err)
}

struct Planner<'c> {
    checked: &'c Checked,
    /// The names on the stack; empty for none.
    scope: Vec<Name>,
    /// The first constant that could not be converted.
    wrong: Option<String>,
}

impl Planner<'_> {
    fn boxed(&mut self, id: Id) -> Box<Plan> {
        Box::new(self.plan(id))
    }

    fn plan(&mut self, id: Id) -> Plan {
        match self.checked.ast.node(id) {
            Expr::Broken => Plan::Const(Value::Null),
            Expr::Literal(value) => Plan::Const(value.clone()),
            Expr::Ident(name) => match self.scope.iter().rposition(|known| known == name) {
                Some(at) => Plan::Local(at),
                None => Plan::Global(Arc::from(name.trim_start_matches('.'))),
            },
            Expr::Select {
                operand,
                field,
                test_only,
            } => {
                let operand = self.boxed(*operand);
                if *test_only {
                    Plan::Has(operand, Arc::clone(field))
                } else {
                    Plan::Select(operand, Arc::clone(field))
                }
            }
            Expr::Call {
                target,
                function,
                args,
            } => self.call(id, *target, function, args),
            Expr::List(elements) => {
                let items: Vec<_> = elements
                    .iter()
                    .map(|e| (self.plan(e.value), e.optional))
                    .collect();
                constant_list(&items).unwrap_or(Plan::List(items))
            }
            Expr::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|e| (self.plan(e.key), self.plan(e.value), e.optional))
                    .collect();
                constant_map(&entries).unwrap_or(Plan::Map(entries))
            }
            Expr::Struct { fields, .. } => Plan::Object {
                ty: self.checked.type_of(id).clone(),
                fields: fields
                    .iter()
                    .map(|f| (Arc::clone(&f.name), self.plan(f.value), f.optional))
                    .collect(),
            },
            Expr::Comprehension(comprehension) => self.fold(comprehension),
        }
    }

    fn call(&mut self, id: Id, target: Option<Id>, function: &str, args: &[Id]) -> Plan {
        match (function, args) {
            ("_&&_", [a, b]) => return Plan::And(self.boxed(*a), self.boxed(*b)),
            ("_||_", [a, b]) => return Plan::Or(self.boxed(*a), self.boxed(*b)),
            ("_?_:_", [condition, then, otherwise]) => {
                return Plan::Conditional(Box::new((
                    self.plan(*condition),
                    self.plan(*then),
                    self.plan(*otherwise),
                )));
            }
            ("or" | "orValue", [otherwise]) => {
                if let Some(operand) = target {
                    return Plan::OptionalOr {
                        operand: self.boxed(operand),
                        otherwise: self.boxed(*otherwise),
                        unwrap: function == "orValue",
                    };
                }
            }
            ("@not_strictly_false", [a]) => return Plan::NotStrictlyFalse(self.boxed(*a)),
            ("_?._", [operand, field]) => {
                if let Expr::Literal(Value::String(name)) = self.checked.ast.node(*field) {
                    return Plan::OptionalSelect(self.boxed(*operand), Arc::from(&**name));
                }
            }
            ("_[_]" | "_[?_]", [operand, index]) => {
                return Plan::Index {
                    operand: self.boxed(*operand),
                    index: self.boxed(*index),
                    optional: function == "_[?_]",
                };
            }
            ("_+_", [accumulator, items]) => {
                if let Some(plan) = self.append(*accumulator, *items) {
                    return plan;
                }
            }
            _ => {}
        }
        let mut args: Vec<Plan> = target
            .iter()
            .chain(args)
            .map(|arg| self.plan(*arg))
            .collect();
        let overloads = self.checked.overloads(id).to_vec();
        if let Some(plan) = constant_pattern(function, &mut args) {
            return plan;
        }
        if let [argument @ Plan::Const(_)] = &args[..]
            && library::is_conversion(function)
            && let Some(converted) = constant_call(&overloads, argument)
        {
            match converted {
                Ok(value) => return Plan::Const(value),
                Err(error) => {
                    self.wrong.get_or_insert(error.to_string());
                }
            }
        }
        if let Some(first) = overloads.first()
            && library::is_operator(function)
        {
            return Plan::Operator {
                eval: OperatorEval(first.eval),
                cost: match overloads[..] {
                    [only] => only.cost,
                    _ => Cost::Unit,
                },
                args,
            };
        }
        Plan::Call { overloads, args }
    }

    /// The innermost accumulator with a literal list added, as macros make it.
    fn append(&mut self, accumulator: Id, items: Id) -> Option<Plan> {
        let Expr::Ident(name) = self.checked.ast.node(accumulator) else {
            return None;
        };
        let Expr::List(elements) = self.checked.ast.node(items) else {
            return None;
        };
        if &**name != crate::ast::ACCUMULATOR || elements.iter().any(|e| e.optional) {
            return None;
        }
        let accumulator = self.scope.iter().rposition(|known| known == name)?;
        let items: Vec<Plan> = elements.iter().map(|e| self.plan(e.value)).collect();
        Some(Plan::Append { accumulator, items })
    }

    fn fold(&mut self, loops: &Comprehension) -> Plan {
        let range = self.plan(loops.range);
        let init = self.plan(loops.init);
        let depth = self.scope.len();
        self.scope.push(Arc::clone(&loops.accumulator));
        self.scope.push(Arc::clone(&loops.var));
        self.scope.extend(loops.var2.clone());
        let condition = self.plan(loops.condition);
        let step = self.plan(loops.step);
        self.scope.truncate(depth + 1);
        let result = self.plan(loops.result);
        self.scope.truncate(depth);
        Plan::Fold(Box::new(Fold {
            range,
            init,
            condition,
            step,
            result,
            two_variables: loops.var2.is_some(),
        }))
    }
}

/// A list of constants, which costs nothing to evaluate.
fn constant_list(items: &[(Plan, bool)]) -> Option<Plan> {
    let values = items
        .iter()
        .map(|(item, optional)| match item {
            Plan::Const(value) if !optional => Some(value.clone()),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Plan::Const(Value::list(values)))
}

/// A map of constants; one that repeats a key fails when it is evaluated.
fn constant_map(entries: &[(Plan, Plan, bool)]) -> Option<Plan> {
    let mut made = BTreeMap::new();
    for (key, value, optional) in entries {
        let (Plan::Const(key), Plan::Const(value), false) = (key, value, optional) else {
            return None;
        };
        let pair = (key.clone(), value.clone());
        if made.insert(Key::of(key)?, pair).is_some() {
            return None;
        }
    }
    Some(Plan::Const(Value::Map(Map::Shared(Arc::new(made)))))
}

/// A pattern that is known is compiled once.
fn constant_pattern(function: &str, args: &mut Vec<Plan>) -> Option<Plan> {
    let [_, Plan::Const(Value::String(text))] = &args[..] else {
        return None;
    };
    if function != "matches" {
        return None;
    }
    let size = Value::String(text.clone()).size();
    let pattern = Arc::new(library::regex::compile(text).ok()?);
    Some(Plan::Matches {
        text: Box::new(args.swap_remove(0)),
        pattern,
        size,
    })
}

/// A conversion of a constant.
fn constant_call(
    overloads: &[&'static Overload],
    argument: &Plan,
) -> Option<Result<Value<'static>, EvalError>> {
    let Plan::Const(argument) = argument else {
        return None;
    };
    let args = [argument.clone()];
    let overload = overloads.iter().find(|overload| overload.fits(&args))?;
    Some((overload.eval)(&args))
}

/// Whether a map is the marker of composed variables.
pub(crate) fn is_composed(value: &Value<'_>) -> bool {
    matches!(value, Value::Map(Map::Composed))
}
