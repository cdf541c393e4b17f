//! Loops.

use super::{Evaluated, Evaluator};
use crate::{
    cost::LIST,
    error::EvalError,
    plan::{Fold, Plan},
    value::Value,
};

impl<'a> Evaluator<'_, 'a> {
    pub(super) fn fold(&mut self, fold: &Fold) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init);
        if let Err(error) = &init
            && !error.is_absorbable()
        {
            return init;
        }
        let base = self.locals.len();
        self.locals.push(init);
        let turned = self.turns(fold, base, range);
        self.locals.truncate(base + 1);
        let result = turned.and_then(|()| self.eval(&fold.result));
        self.locals.truncate(base);
        result
    }

    fn turns(&mut self, fold: &Fold, base: usize, range: Value<'a>) -> Result<(), EvalError> {
        self.locals.push(Ok(Value::Null));
        if fold.two_variables {
            self.locals.push(Ok(Value::Null));
        }
        match range {
            Value::List(list) => {
                for at in 0..list.len() {
                    let Some(item) = list.get(at) else { break };
                    let index = Value::Int(i64::try_from(at).unwrap_or(i64::MAX));
                    if fold.two_variables {
                        self.locals[base + 1] = Ok(index);
                        self.locals[base + 2] = Ok(item);
                    } else {
                        self.locals[base + 1] = Ok(item);
                    }
                    if !self.turn(fold, base)? {
                        break;
                    }
                }
                Ok(())
            }
            Value::Map(map) => {
                for (key, value) in map.entries() {
                    self.locals[base + 1] = Ok(key);
                    if fold.two_variables {
                        self.locals[base + 2] = Ok(value);
                    }
                    if !self.turn(fold, base)? {
                        break;
                    }
                }
                Ok(())
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// One turn; false if the loop is over.
    fn turn(&mut self, fold: &Fold, base: usize) -> Result<bool, EvalError> {
        if !matches!(self.eval(&fold.condition)?, Value::Bool(true)) {
            return Ok(false);
        }
        let accumulated = self.eval(&fold.step);
        if let Err(error) = &accumulated {
            // Only a loop that asks for its accumulator can recover from an error in it.
            if !error.is_absorbable() || matches!(fold.condition, Plan::Const(_)) {
                return Err(error.clone());
            }
        }
        self.locals[base] = accumulated;
        Ok(true)
    }

    /// `accumulator + [items]`: the list is taken out of its place, so that nobody else holds it and it grows in place.
    pub(super) fn append(&mut self, accumulator: usize, items: &[Plan]) -> Evaluated<'a> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.eval(item)?);
        }
        let constant = items.iter().all(|item| matches!(item, Plan::Const(_)));
        self.charge(2 + if constant { 0 } else { LIST })?;
        match std::mem::replace(&mut self.locals[accumulator], Ok(Value::Null))? {
            Value::List(list) => {
                let mut all = list.into_items();
                all.append(&mut values);
                Ok(Value::list(all))
            }
            _ => Err(EvalError::no_such_overload()),
        }
    }
}
