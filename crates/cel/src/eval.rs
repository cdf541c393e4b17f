//! Evaluates plans.
//!
//! Errors are values to `&&`, `||` and loops over them: `false && 1/0 == 1` is false whatever the order. What exceeds a limit is not: it ends the evaluation.
//! Depth is bounded by the height of the plan; composed variables, which nest programs, by [`MAX_NESTING`].

mod access;
mod fold;

use crate::{
    activation::Activation,
    cost::{Budget, LIST, MAP, OBJECT, SELECT},
    error::EvalError,
    plan::{Plan, is_composed},
    value::{Key, Map, Struct, Value},
};

/// How deep variables may use variables.
const MAX_NESTING: u32 = 64;

pub(crate) type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// Evaluates a program's plan; its cost is taken from the budget.
pub(crate) fn evaluate<'a>(
    plan: &Plan,
    activation: &Activation<'a>,
    budget: &mut Budget,
    nesting: u32,
) -> Evaluated<'a> {
    if nesting > MAX_NESTING {
        return Err(EvalError::failed("variables are nested too deeply"));
    }
    let mut evaluator = Evaluator {
        activation,
        limit: budget.per_call(),
        budget,
        locals: Vec::new(),
        cost: 0,
        nesting,
    };
    let result = evaluator.eval(plan);
    let cost = evaluator.cost;
    if !budget.take(cost) {
        return Err(EvalError::OutOfBudget);
    }
    result
}

struct Evaluator<'e, 'a> {
    activation: &'e Activation<'a>,
    budget: &'e mut Budget,
    /// Variables of loops; accumulators may hold errors.
    locals: Vec<Evaluated<'a>>,
    cost: u64,
    limit: u64,
    nesting: u32,
}

impl<'a> Evaluator<'_, 'a> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            return Err(EvalError::CostLimitExceeded);
        }
        Ok(())
    }

    fn eval(&mut self, plan: &Plan) -> Evaluated<'a> {
        match plan {
            Plan::Const(value) => Ok(value.clone()),
            Plan::Local(at) => {
                self.charge(SELECT)?;
                self.locals[*at].clone()
            }
            Plan::Global(name) => {
                self.charge(SELECT)?;
                self.activation
                    .get(name)
                    .ok_or_else(|| EvalError::failed(format!("no such attribute(s): {name}")))
            }
            Plan::Select(operand, field) => self.select(operand, field),
            Plan::Has(operand, field) => {
                let operand = self.eval(operand)?;
                self.has(&operand, field)
            }
            Plan::OptionalSelect(operand, field) => {
                let operand = self.eval(operand)?;
                self.charge(SELECT)?;
                self.optional_field(operand, field)
            }
            Plan::Index {
                operand,
                index,
                optional,
            } => {
                let operand = self.eval(operand)?;
                let index = self.eval(index)?;
                self.charge(SELECT)?;
                access::index(operand, &index, *optional)
            }
            Plan::And(a, b) => self.logic(a, b, false),
            Plan::Or(a, b) => self.logic(a, b, true),
            Plan::Conditional(parts) => match self.eval(&parts.0)? {
                Value::Bool(true) => self.eval(&parts.1),
                Value::Bool(false) => self.eval(&parts.2),
                _ => Err(EvalError::no_such_overload()),
            },
            Plan::OptionalOr {
                operand,
                otherwise,
                unwrap,
            } => match self.eval(operand)? {
                Value::Optional(None) => self.eval(otherwise),
                Value::Optional(Some(value)) if *unwrap => Ok((*value).clone()),
                operand => Ok(operand),
            },
            Plan::NotStrictlyFalse(operand) => {
                let value = match self.eval(operand) {
                    Ok(Value::Bool(value)) => value,
                    Err(error) if !error.is_absorbable() => return Err(error),
                    _ => true,
                };
                self.charge(1)?;
                Ok(Value::Bool(value))
            }
            Plan::Operator { eval, cost, args } => self.with_args(args, |args| {
                let value = (eval.0)(args)?;
                let cost = cost.of_call(args, &value);
                Ok((value, cost))
            }),
            Plan::Call { overloads, args } => self.with_args(args, |args| {
                let Some(overload) = overloads.iter().find(|overload| overload.fits(args)) else {
                    return Err(access::no_overload(overloads, args));
                };
                let value = (overload.eval)(args)?;
                let cost = overload.cost.of_call(args, &value);
                Ok((value, cost))
            }),
            Plan::Matches {
                text,
                pattern,
                size,
            } => {
                let text = self.eval(text)?;
                let Value::String(inside) = &text else {
                    return Err(EvalError::no_such_overload());
                };
                let found = pattern.is_match(inside);
                self.charge(crate::cost::matches(text.size(), *size))?;
                Ok(Value::Bool(found))
            }
            Plan::List(items) => self.list(items),
            Plan::Map(entries) => self.map(entries),
            Plan::Object { ty, fields } => {
                let mut made = Struct {
                    ty: ty.clone(),
                    fields: std::collections::BTreeMap::new(),
                };
                for (name, plan, optional) in fields {
                    let value = self.eval(plan)?;
                    if let Some(value) = access::unwrap(value, *optional)? {
                        made.fields.insert(name.clone(), value);
                    }
                }
                self.charge(OBJECT)?;
                Ok(Value::Map(Map::Struct(made.into())))
            }
            Plan::Fold(fold) => self.fold(fold),
            Plan::Append { accumulator, items } => self.append(*accumulator, items),
        }
    }

    /// Evaluates the arguments, then the call, then charges what it cost.
    fn with_args(
        &mut self,
        args: &[Plan],
        call: impl FnOnce(&[Value<'a>]) -> Result<(Value<'a>, u64), EvalError>,
    ) -> Evaluated<'a> {
        let (value, cost) = match args {
            [a] => call(&[self.eval(a)?])?,
            [a, b] => {
                let a = self.eval(a)?;
                let b = self.eval(b)?;
                call(&[a, b])?
            }
            _ => {
                let args = args
                    .iter()
                    .map(|arg| self.eval(arg))
                    .collect::<Result<Vec<_>, _>>()?;
                call(&args)?
            }
        };
        self.charge(cost)?;
        Ok(value)
    }

    /// `a && b` (decided by false) or `a || b` (decided by true): an error on one side counts only if the other does not decide.
    fn logic(&mut self, a: &Plan, b: &Plan, decisive: bool) -> Evaluated<'a> {
        let a = match self.eval(a) {
            Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
            Err(error) if !error.is_absorbable() => return Err(error),
            Ok(Value::Bool(_)) => None,
            Ok(_) => Some(EvalError::no_such_overload()),
            Err(error) => Some(error),
        };
        match self.eval(b) {
            Ok(Value::Bool(value)) if value == decisive => Ok(Value::Bool(decisive)),
            Err(error) if !error.is_absorbable() => Err(error),
            other => match (a, other) {
                (Some(error), _) | (None, Err(error)) => Err(error),
                (None, Ok(Value::Bool(value))) => Ok(Value::Bool(value)),
                (None, Ok(_)) => Err(EvalError::no_such_overload()),
            },
        }
    }

    fn list(&mut self, items: &[(Plan, bool)]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(items.len());
        for (plan, optional) in items {
            let value = self.eval(plan)?;
            values.extend(access::unwrap(value, *optional)?);
        }
        self.charge(LIST)?;
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &[(Plan, Plan, bool)]) -> Evaluated<'a> {
        let mut made = std::collections::BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            let found = Key::of(&key).ok_or_else(|| EvalError::failed("unsupported key type"))?;
            if let Some(value) = access::unwrap(value, *optional)?
                && made.insert(found, (key.clone(), value)).is_some()
            {
                return Err(EvalError::failed(format!(
                    "Failed with repeated key {}",
                    access::show_key(&key)
                )));
            }
        }
        self.charge(MAP)?;
        Ok(Value::Map(Map::Shared(made.into())))
    }

    fn select(&mut self, operand: &Plan, field: &str) -> Evaluated<'a> {
        let operand = self.eval(operand)?;
        self.charge(SELECT)?;
        if is_composed(&operand) {
            return self.composed(field);
        }
        access::select(operand, field)
    }

    fn has(&mut self, operand: &Value<'a>, field: &str) -> Evaluated<'a> {
        match operand {
            Value::Map(Map::Composed) => Ok(Value::Bool(self.activation.composed(field).is_some())),
            Value::Map(map) => Ok(Value::Bool(map.field(field).is_some())),
            Value::Optional(None) => Ok(Value::Bool(false)),
            Value::Optional(Some(inner)) => self.has(inner, field),
            Value::List(_) => Err(access::no_index(&Value::from(field))),
            // What can have no fields, such as the old object of a creation, has not this one.
            _ => Ok(Value::Bool(false)),
        }
    }

    fn optional_field(&mut self, operand: Value<'a>, field: &str) -> Evaluated<'a> {
        if is_composed(&operand) {
            return self.composed(field).map(Value::some);
        }
        access::optional_field(&operand, field)
    }

    /// A variable of the policy: evaluated once, at this budget's cost.
    fn composed(&mut self, name: &str) -> Evaluated<'a> {
        let Some((program, place)) = self.activation.composed(name) else {
            return Err(EvalError::no_such_key(name));
        };
        if let Some(known) = place.get() {
            return known.clone();
        }
        let value = evaluate(
            program.plan(),
            self.activation,
            self.budget,
            self.nesting + 1,
        );
        // Whoever was first has set the same.
        place.get_or_init(|| value).clone()
    }
}
