//! The type checker: resolves names, chooses overloads, finds each node's type.
//!
//! Follows cel-go's checker in what it accepts and in the words with which it refuses; users read both in `Status` causes. What it learns
//! (types, overloads) the estimator of costs and the planner need.

mod assign;
mod formats;
mod homogeneous;
mod literals;

use std::sync::Arc;

use self::assign::Assignment;
use crate::{
    ast::{Ast, Comprehension, Element, Entry, Expr, Field, Id, Name},
    environment::Environment,
    function::{self, Function, Overload},
    source::{CompileErrors, Issues},
    types::Type,
    value::Value,
};

/// A tree that is well typed.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) ast: Ast,
    pub(crate) root: Id,
    types: Vec<Type>,
    overloads: Vec<Vec<&'static Overload>>,
}

impl Checked {
    /// The type of a node.
    pub(crate) fn type_of(&self, id: Id) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The overloads that a call may reach.
    pub(crate) fn overloads(&self, id: Id) -> &[&'static Overload] {
        &self.overloads[id.0 as usize]
    }
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.function, self.params)
    }
}

/// Checks a tree.
///
/// # Errors
/// All that is wrong with it, worded as upstream.
pub(crate) fn check(
    environment: &Environment,
    source: &str,
    ast: Ast,
    root: Id,
) -> Result<Checked, CompileErrors> {
    let nodes = ast.len();
    let mut checker = Checker {
        environment,
        issues: Issues::new(source),
        types: vec![Type::Error; nodes],
        overloads: vec![Vec::new(); nodes],
        ast,
        scopes: Vec::new(),
        assignment: Assignment::default(),
    };
    checker.check(root);
    let Checker {
        issues,
        mut types,
        overloads,
        assignment,
        ast,
        ..
    } = checker;
    issues.finish()?;
    for ty in &mut types {
        *ty = assignment.resolve(ty, true);
    }
    Ok(Checked {
        ast,
        root,
        types,
        overloads,
    })
}

/// Looks at what types do not show: mixed literals, formats, and constants that do not parse.
///
/// # Errors
/// All that is wrong with it, worded as upstream.
pub(crate) fn validate(checked: &Checked, source: &str) -> Result<(), CompileErrors> {
    let mut issues = Issues::new(source);
    homogeneous::check_homogeneous(checked, &mut issues);
    formats::check_formats(checked, &mut issues);
    literals::check_literals(checked, &mut issues);
    issues.finish()
}

struct Checker<'e, 's> {
    environment: &'e Environment,
    issues: Issues<'s>,
    ast: Ast,
    types: Vec<Type>,
    overloads: Vec<Vec<&'static Overload>>,
    /// Variables of loops, innermost last.
    scopes: Vec<(Name, Type)>,
    assignment: Assignment,
}

impl Checker<'_, '_> {
    fn set(&mut self, id: Id, ty: Type) {
        self.types[id.0 as usize] = ty;
    }

    fn get(&self, id: Id) -> Type {
        self.types[id.0 as usize].clone()
    }

    fn complain(&mut self, id: Id, message: String) {
        self.issues.report(self.ast.offset(id), message);
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.complain(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
        self.set(id, Type::Error);
    }

    fn expected(&mut self, id: Id, expected: &Type, found: &Type) {
        let (expected, found) = (
            self.assignment.resolve(expected, true),
            self.assignment.resolve(found, true),
        );
        self.complain(
            id,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn check(&mut self, id: Id) {
        match self.ast.node(id).clone() {
            Expr::Broken => {}
            Expr::Literal(value) => self.set(id, value.type_of()),
            Expr::Ident(name) => self.ident(id, &name),
            Expr::Select {
                operand,
                field,
                test_only,
            } => self.select(id, operand, &field, test_only),
            Expr::Call {
                target,
                function,
                args,
            } => self.call(id, target, &function, &args),
            Expr::List(elements) => self.list(id, &elements),
            Expr::Map(entries) => self.map(id, &entries),
            Expr::Struct { name, fields } => self.object(id, &name, &fields),
            Expr::Comprehension(comprehension) => self.comprehension(id, &comprehension),
        }
    }

    /// The type of what a name stands for.
    fn variable(&self, name: &str) -> Option<Type> {
        let absolute = name.strip_prefix('.');
        if absolute.is_none()
            && let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| &**known == name)
        {
            return Some(ty.clone());
        }
        self.environment.variable_type(absolute.unwrap_or(name))
    }

    fn ident(&mut self, id: Id, name: &Name) {
        if let Some(ty) = self.variable(name) {
            return self.set(id, ty);
        }
        match self.environment.type_named(name.trim_start_matches('.')) {
            Some(ty) => {
                self.set(id, Type::type_of(ty.clone()));
                self.ast.replace(id, Expr::Literal(Value::Type(ty)));
            }
            None => self.undeclared(id, name),
        }
    }

    /// `a.b.c`, if it is names joined by dots.
    fn qualified(&self, mut id: Id) -> Option<String> {
        let mut parts: Vec<&str> = Vec::new();
        loop {
            match self.ast.node(id) {
                Expr::Ident(name) => {
                    parts.push(name);
                    parts.reverse();
                    return Some(parts.join("."));
                }
                Expr::Select {
                    operand,
                    field,
                    test_only: false,
                } => {
                    parts.push(field);
                    id = *operand;
                }
                _ => return None,
            }
        }
    }

    /// Whether the first part of a dotted name is the variable of a loop.
    fn is_shadowed(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        self.scopes.iter().any(|(known, _)| &**known == first)
    }

    fn select(&mut self, id: Id, operand: Id, field: &Name, test_only: bool) {
        // A dotted name may be that of a variable (`authorizer.requestResource`) or a type (`google.protobuf.Timestamp`).
        if !test_only
            && let Some(name) = self.qualified(id)
            && !self.is_shadowed(&name)
        {
            let name = name.trim_start_matches('.');
            if let Some(ty) = self.environment.variable_type(name) {
                self.set(id, ty);
                return self.ast.replace(id, Expr::Ident(Arc::from(name)));
            }
            if let Some(ty) = self.environment.type_named(name) {
                self.set(id, Type::type_of(ty.clone()));
                return self.ast.replace(id, Expr::Literal(Value::Type(ty)));
            }
        }
        let ty = self.field_type(id, operand, field, false);
        self.set(id, if test_only { Type::Bool } else { ty });
    }

    /// The type of a selected field. Of an optional, the field is optional.
    fn field_type(&mut self, id: Id, operand: Id, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand = self.assignment.resolve(&self.get(operand), false);
        let (of, was_optional) = match &operand {
            Type::Optional(of) => ((**of).clone(), true),
            _ => (operand, false),
        };
        let found = match &of {
            Type::Map(map) => map.1.clone(),
            Type::Object(object) => match object.field_type(field) {
                Some(ty) => ty,
                None => {
                    self.complain(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.assignment.assignable(&Type::Dyn, &of);
                Type::Dyn
            }
            Type::Opaque(name) => {
                self.complain(id, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
            _ => {
                if !of.is_dyn_or_error() {
                    self.complain(id, format!("type '{of}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        let found = self.assignment.resolve(&found, false);
        if was_optional || optional {
            Type::optional(found)
        } else {
            found
        }
    }

    fn call(&mut self, id: Id, target: Option<Id>, function: &Name, args: &[Id]) {
        if &**function == "_?._" {
            return self.optional_select(id, args);
        }
        args.iter().for_each(|arg| self.check(*arg));
        let Some(target) = target else {
            let name = function.trim_start_matches('.');
            return match self.function(name) {
                Some(found) => self.resolve(id, found, args, false),
                None => self.undeclared(id, name),
            };
        };
        // `sets.contains(…)`: the receiver may be but the first part of the name.
        if let Some(prefix) = self.qualified(target)
            && let Some(found) = self.function(&format!("{prefix}.{function}"))
        {
            self.ast.replace(
                id,
                Expr::Call {
                    target: None,
                    function: Arc::from(found.name),
                    args: args.to_vec(),
                },
            );
            return self.resolve(id, found, args, false);
        }
        self.check(target);
        match self.function(function) {
            Some(found) => {
                let all: Vec<Id> = std::iter::once(target)
                    .chain(args.iter().copied())
                    .collect();
                self.resolve(id, found, &all, true);
            }
            None => self.undeclared(id, function),
        }
    }

    fn function(&self, name: &str) -> Option<&'static Function> {
        self.environment
            .has_function(name)
            .then(|| function::lookup(name))
            .flatten()
    }

    fn optional_select(&mut self, id: Id, args: &[Id]) {
        let [operand, field] = args else {
            return self.set(id, Type::Error);
        };
        let name = match self.ast.node(*field) {
            Expr::Literal(Value::String(name)) => name.to_string(),
            _ => return self.set(id, Type::Error),
        };
        self.set(*field, Type::String);
        let ty = self.field_type(id, *operand, &name, true);
        self.set(id, ty);
    }

    /// Finds the overloads that fit; the result is `dyn` if they disagree.
    fn resolve(&mut self, id: Id, function: &'static Function, args: &[Id], member: bool) {
        let given: Vec<Type> = args.iter().map(|arg| self.get(*arg)).collect();
        if matches!(function.name, "_&&_" | "_||_") {
            for (arg, ty) in args.iter().zip(&given) {
                if !self.assignment.assignable(ty, &Type::Bool) {
                    self.expected(*arg, &Type::Bool, ty);
                }
            }
            self.overloads[id.0 as usize].extend(&function.overloads);
            return self.set(id, Type::Bool);
        }
        let mut result: Option<Type> = None;
        for overload in &function.overloads {
            if overload.is_member != member || overload.params.len() != given.len() {
                continue;
            }
            let fresh;
            let (params, declared) = if overload.is_generic {
                fresh = self
                    .assignment
                    .instantiate(&overload.params, &overload.result);
                (&fresh.0, &fresh.1)
            } else {
                (&overload.params, &overload.result)
            };
            if self.assignment.all_assignable(&given, params) {
                self.overloads[id.0 as usize].push(overload);
                let ty = self.assignment.resolve(declared, false);
                result = Some(match result {
                    None => ty,
                    Some(first) if first == ty || first == Type::Dyn => first,
                    Some(_) => Type::Dyn,
                });
            }
        }
        match result {
            Some(ty) => self.set(id, ty),
            None => {
                let shown = self.signature(&given, member);
                self.complain(
                    id,
                    format!(
                        "found no matching overload for '{}' applied to '{shown}'",
                        function.name
                    ),
                );
                self.set(id, Type::Error);
            }
        }
    }

    /// `string.(int)`, `(int, string)`.
    fn signature(&self, given: &[Type], member: bool) -> String {
        let mut shown = given
            .iter()
            .map(|ty| self.assignment.resolve(ty, true).to_string());
        let target = if member { shown.next() } else { None };
        let args = shown.collect::<Vec<_>>().join(", ");
        match target {
            Some(target) => format!("{target}.({args})"),
            None => format!("({args})"),
        }
    }

    /// The type of an item marked `?`, which must be optional.
    fn unwrapped(&mut self, id: Id, optional: bool) -> Type {
        let ty = self.assignment.resolve(&self.get(id), false);
        if !optional {
            return ty;
        }
        match ty {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn | Type::Error => ty,
            _ => {
                self.expected(id, &Type::optional(ty.clone()), &ty);
                ty
            }
        }
    }

    /// The common type of the items of a literal.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else {
            return current;
        };
        if self.assignment.assignable(&previous, &current) {
            return self.assignment.most_general(previous, current);
        }
        Type::Dyn
    }

    fn list(&mut self, id: Id, elements: &[Element]) {
        let mut items = None;
        for element in elements {
            self.check(element.value);
            let ty = self.unwrapped(element.value, element.optional);
            items = Some(self.join(items, ty));
        }
        let items = items.unwrap_or_else(|| self.assignment.fresh());
        self.set(id, Type::list(items));
    }

    fn map(&mut self, id: Id, entries: &[Entry]) {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(entry.key);
            let ty = self.get(entry.key);
            keys = Some(self.join(keys, ty));
            self.check(entry.value);
            let ty = self.unwrapped(entry.value, entry.optional);
            values = Some(self.join(values, ty));
        }
        let keys = keys.unwrap_or_else(|| self.assignment.fresh());
        let values = values.unwrap_or_else(|| self.assignment.fresh());
        self.set(id, Type::map(keys, values));
    }

    fn object(&mut self, id: Id, name: &str, fields: &[Field]) {
        let name = name.trim_start_matches('.');
        let Some(ty) = self.environment.type_named(name) else {
            return self.undeclared(id, name);
        };
        let Type::Object(object) = &ty else {
            self.complain(id, format!("'{ty}' is not a message type"));
            return self.set(id, Type::Error);
        };
        for field in fields {
            self.check(field.value);
            let given = self.unwrapped(field.value, field.optional);
            let Some(declared) = object.field_type(&field.name) else {
                // Of this type upstream takes all fields for known, and what it does not know for of no type.
                let wrong = if object.name() == "JSONPatch" {
                    let given = self.assignment.resolve(&given, true);
                    format!(
                        "expected type of field '{}' is '' but provided type is '{given}'",
                        field.name
                    )
                } else {
                    format!("undefined field '{}'", field.name)
                };
                self.issues.report(field.offset, wrong);
                continue;
            };
            if !self.assignment.assignable(&declared, &given) {
                let given = self.assignment.resolve(&given, true);
                self.issues.report(
                    field.offset,
                    format!(
                        "expected type of field '{}' is '{declared}' but provided type is '{given}'",
                        field.name
                    ),
                );
            }
        }
        self.set(id, ty);
    }

    fn comprehension(&mut self, id: Id, loops: &Comprehension) {
        self.check(loops.range);
        self.check(loops.init);
        let range = self.assignment.resolve(&self.get(loops.range), false);
        let accumulated = self.get(loops.init);
        let depth = self.scopes.len();
        self.scopes
            .push((Arc::clone(&loops.accumulator), accumulated.clone()));
        let two = loops.var2.is_some();
        let (first, second) = match &range {
            Type::List(items) if two => (Type::Int, (**items).clone()),
            Type::List(items) => ((**items).clone(), Type::Error),
            Type::Map(map) => (map.0.clone(), map.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.assignment.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            _ => {
                self.complain(
                    loops.range,
                    format!(
                        "expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Error, Type::Error)
            }
        };
        self.scopes.push((Arc::clone(&loops.var), first));
        if let Some(var2) = &loops.var2 {
            self.scopes.push((Arc::clone(var2), second));
        }
        self.check(loops.condition);
        self.assert(loops.condition, &Type::Bool);
        self.check(loops.step);
        self.assert(loops.step, &accumulated);
        self.scopes.truncate(depth + 1);
        self.check(loops.result);
        self.scopes.truncate(depth);
        let ty = self.assignment.resolve(&self.get(loops.result), false);
        self.set(id, ty);
    }

    fn assert(&mut self, id: Id, wanted: &Type) {
        let found = self.get(id);
        if !self.assignment.assignable(wanted, &found) {
            self.expected(id, wanted, &found);
        }
    }
}
