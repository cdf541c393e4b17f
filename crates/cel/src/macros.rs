//! Macros: calls that the parser turns into loops and choices.
//!
//! Nodes that a macro makes stand where the call's parenthesis stands, so that errors point there.

use std::sync::Arc;

use crate::{
    ast::{ACCUMULATOR, Comprehension, Element, Expr, Id, Name},
    parser::Parser,
    value::Value,
};

/// A macro used wrongly.
pub(crate) struct Misuse {
    /// The node to point at; the call itself if none.
    pub(crate) at: Option<Id>,
    pub(crate) message: &'static str,
}

type Expansion = Result<Id, Misuse>;

/// What a macro gets: the call's place, its receiver, its arguments.
struct Call<'p, 's, 'c> {
    parser: &'p mut Parser<'s>,
    offset: u32,
    target: Id,
    args: &'c [Id],
}

/// Expands a call if a macro is called so.
pub(crate) fn expand(
    parser: &mut Parser<'_>,
    offset: u32,
    target: Option<Id>,
    function: &str,
    args: &[Id],
) -> Option<Expansion> {
    let Some(target) = target else {
        return match (function, args) {
            ("has", [operand]) => Some(has(parser, offset, *operand)),
            _ => None,
        };
    };
    let namespace = match parser.node(target) {
        Expr::Ident(name) => Some(Arc::clone(name)),
        _ => None,
    };
    let bindings = parser.options.bindings;
    let mut call = Call {
        parser,
        offset,
        target,
        args,
    };
    Some(match (function, args.len()) {
        ("bind", 3) if bindings && namespace.as_deref() == Some("cel") => call.bind(),
        ("all", 2 | 3) => call.quantifier(true),
        ("exists", 2 | 3) => call.quantifier(false),
        ("exists_one" | "existsOne", 2 | 3) => call.exists_one(),
        ("map", 2 | 3) => call.map(),
        ("filter", 2) => call.filter(),
        ("transformList", 3 | 4) => call.transform_list(),
        ("transformMap", 3 | 4) => call.transform_map("cel.@mapInsert", 3),
        ("transformMapEntry", 3 | 4) => call.transform_map("cel.@mapInsert", 2),
        ("optMap", 2) => call.opt_map(true),
        ("optFlatMap", 2) => call.opt_map(false),
        ("sortBy", 2) => call.sort_by(),
        _ => return None,
    })
}

fn has(parser: &mut Parser<'_>, offset: u32, operand: Id) -> Expansion {
    match parser.node(operand) {
        Expr::Select {
            operand,
            field,
            test_only: false,
        } => {
            let select = Expr::Select {
                operand: *operand,
                field: Arc::clone(field),
                test_only: true,
            };
            Ok(parser.add(offset, select))
        }
        // Backtick-free optional selection and everything else has no field to look for.
        _ => Err(Misuse {
            at: Some(operand),
            message: "invalid argument to has() macro",
        }),
    }
}

impl Call<'_, '_, '_> {
    fn variable(&self, at: usize, message: &'static str) -> Result<Name, Misuse> {
        let misuse = |message| Misuse {
            at: Some(self.args[at]),
            message,
        };
        match self.parser.node(self.args[at]) {
            Expr::Ident(name) if name.starts_with('.') => Err(misuse(message)),
            Expr::Ident(name) if &**name == "__result__" || &**name == ACCUMULATOR => {
                Err(misuse("iteration variable overwrites accumulator variable"))
            }
            Expr::Ident(name) => Ok(Arc::clone(name)),
            _ => Err(misuse(message)),
        }
    }

    /// One loop variable, or two that differ.
    fn variables(&self, two: bool) -> Result<(Name, Option<Name>), Misuse> {
        let message = "argument must be a simple name";
        let first = self.variable(0, message)?;
        if !two {
            return Ok((first, None));
        }
        let second = self.variable(1, message)?;
        if first == second {
            return Err(Misuse {
                at: Some(self.args[1]),
                message: "duplicate variable name",
            });
        }
        Ok((first, Some(second)))
    }

    fn add(&mut self, expr: Expr) -> Id {
        self.parser.add(self.offset, expr)
    }

    fn literal(&mut self, value: Value<'static>) -> Id {
        self.add(Expr::Literal(value))
    }

    fn bool(&mut self, value: bool) -> Id {
        self.literal(Value::Bool(value))
    }

    fn ident(&mut self, name: &str) -> Id {
        self.add(Expr::Ident(Arc::from(name)))
    }

    fn accumulator(&mut self) -> Id {
        self.ident(ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Id>) -> Id {
        self.parser.call(self.offset, function, args)
    }

    fn member_call(&mut self, target: Id, function: &str, args: Vec<Id>) -> Id {
        self.add(Expr::Call {
            target: Some(target),
            function: Arc::from(function),
            args,
        })
    }

    fn list_of(&mut self, value: Id) -> Id {
        self.add(Expr::List(vec![Element {
            value,
            optional: false,
        }]))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a loop, in their order"
    )]
    fn fold(
        &mut self,
        range: Id,
        (var, var2): (Name, Option<Name>),
        accumulator: &str,
        init: Id,
        condition: Id,
        step: Id,
        result: Id,
    ) -> Id {
        self.add(Expr::Comprehension(Box::new(Comprehension {
            range,
            var,
            var2,
            accumulator: Arc::from(accumulator),
            init,
            condition,
            step,
            result,
        })))
    }

    /// A loop over what the macro was called on, with the accumulator of all macros.
    fn over_target(
        &mut self,
        vars: (Name, Option<Name>),
        init: Id,
        condition: Id,
        step: Id,
        result: Id,
    ) -> Id {
        self.fold(
            self.target,
            vars,
            ACCUMULATOR,
            init,
            condition,
            step,
            result,
        )
    }

    /// `all` and `exists`: go on while it is undecided.
    fn quantifier(&mut self, all: bool) -> Expansion {
        let vars = self.variables(self.args.len() == 3)?;
        let predicate = self.args[self.args.len() - 1];
        let init = self.bool(all);
        let accumulator = self.accumulator();
        let undecided = if all {
            accumulator
        } else {
            self.call("!_", vec![accumulator])
        };
        let condition = self.call("@not_strictly_false", vec![undecided]);
        let accumulator = self.accumulator();
        let operator = if all { "_&&_" } else { "_||_" };
        let step = self.call(operator, vec![accumulator, predicate]);
        let result = self.accumulator();
        Ok(self.over_target(vars, init, condition, step, result))
    }

    fn exists_one(&mut self) -> Expansion {
        let vars = self.variables(self.args.len() == 3)?;
        let predicate = self.args[self.args.len() - 1];
        let init = self.literal(Value::Int(0));
        let condition = self.bool(true);
        let (accumulator, one) = (self.accumulator(), self.literal(Value::Int(1)));
        let more = self.call("_+_", vec![accumulator, one]);
        let same = self.accumulator();
        let step = self.call("_?_:_", vec![predicate, more, same]);
        let (accumulator, one) = (self.accumulator(), self.literal(Value::Int(1)));
        let result = self.call("_==_", vec![accumulator, one]);
        Ok(self.over_target(vars, init, condition, step, result))
    }

    /// A loop that appends `element` where `predicate` holds.
    fn collect(&mut self, vars: (Name, Option<Name>), predicate: Option<Id>, element: Id) -> Id {
        let init = self.add(Expr::List(Vec::new()));
        let condition = self.bool(true);
        let accumulator = self.accumulator();
        let element = self.list_of(element);
        let mut step = self.call("_+_", vec![accumulator, element]);
        if let Some(predicate) = predicate {
            let same = self.accumulator();
            step = self.call("_?_:_", vec![predicate, step, same]);
        }
        let result = self.accumulator();
        self.over_target(vars, init, condition, step, result)
    }

    fn map(&mut self) -> Expansion {
        let var = self.variable(0, "argument is not an identifier")?;
        let predicate = (self.args.len() == 3).then(|| self.args[1]);
        let element = self.args[self.args.len() - 1];
        Ok(self.collect((var, None), predicate, element))
    }

    fn filter(&mut self) -> Expansion {
        let var = self.variable(0, "argument is not an identifier")?;
        let element = self.ident(&var);
        Ok(self.collect((var, None), Some(self.args[1]), element))
    }

    fn transform_list(&mut self) -> Expansion {
        let vars = self.variables(true)?;
        let predicate = (self.args.len() == 4).then(|| self.args[2]);
        let element = self.args[self.args.len() - 1];
        Ok(self.collect(vars, predicate, element))
    }

    /// A loop that inserts into a map: with the key of the range (3 arguments), or an entry that is a map (2).
    fn transform_map(&mut self, function: &str, arity: usize) -> Expansion {
        let vars = self.variables(true)?;
        let predicate = (self.args.len() == 4).then(|| self.args[2]);
        let element = self.args[self.args.len() - 1];
        let init = self.add(Expr::Map(Vec::new()));
        let condition = self.bool(true);
        let mut args = vec![self.accumulator()];
        if arity == 3 {
            args.push(self.ident(&vars.0));
        }
        args.push(element);
        let mut step = self.call(function, args);
        if let Some(predicate) = predicate {
            let same = self.accumulator();
            step = self.call("_?_:_", vec![predicate, step, same]);
        }
        let result = self.accumulator();
        Ok(self.over_target(vars, init, condition, step, result))
    }

    /// A loop of no turns, whose accumulator is the variable.
    fn bound(&mut self, var: &str, value: Id, body: Id) -> Id {
        let range = self.add(Expr::List(Vec::new()));
        let condition = self.bool(false);
        let step = self.ident(var);
        let unused = (Arc::from("#unused"), None);
        self.fold(range, unused, var, value, condition, step, body)
    }

    fn bind(&mut self) -> Expansion {
        let var = self.variable(0, "cel.bind() variable names must be simple identifiers")?;
        Ok(self.bound(&var, self.args[1], self.args[2]))
    }

    fn opt_map(&mut self, wrap: bool) -> Expansion {
        let message = if wrap {
            "optMap() variable name must be a simple identifier"
        } else {
            "optFlatMap() variable name must be a simple identifier"
        };
        let var = self.variable(0, message)?;
        let has_value = self.member_call(self.target, "hasValue", Vec::new());
        let value = self.member_call(self.target, "value", Vec::new());
        let mut some = self.bound(&var, value, self.args[1]);
        let optional = self.ident("optional");
        if wrap {
            some = self.member_call(optional, "of", vec![some]);
        }
        let optional = self.ident("optional");
        let none = self.member_call(optional, "none", Vec::new());
        Ok(self.call("_?_:_", vec![has_value, some, none]))
    }

    fn sort_by(&mut self) -> Expansion {
        const INPUT: &str = "@__sortBy_input__";
        let var = self.variable(0, "sortBy() variable name must be a simple identifier")?;
        let list = self.target;
        self.target = self.ident(INPUT);
        let keys = self.collect((var, None), None, self.args[1]);
        let input = self.ident(INPUT);
        let sorted = self.member_call(input, "@sortByAssociatedKeys", vec![keys]);
        Ok(self.bound(INPUT, list, sorted))
    }
}
