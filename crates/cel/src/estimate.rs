//! What an expression costs at least and at most, known before it runs.
//!
//! CustomResourceDefinitions are refused if the worst case of their rules is too dear, so the figures are part of the API: they follow cel-go's checker and
//! Kubernetes' estimators step by step. Sizes of what comes from variables are bounded by their declarations; what has no bound has the largest
//! number as its size, and everything saturates.

mod call;
mod range;

use std::{collections::HashMap, sync::Arc};

pub use self::range::Estimate;
pub(crate) use self::range::Range;
use crate::{
    ast::{ACCUMULATOR, Comprehension, Expr, Id},
    checker::Checked,
    cost::{LIST, MAP, OBJECT, SELECT},
    environment::Environment,
    types::Type,
    value::Value,
};

/// The way from a variable to a value: fields, `@items`, `@keys`, `@values`.
type Path = Vec<Arc<str>>;

/// Sizes of what is in a list or map, if both are known.
#[derive(Clone, Copy)]
struct EntrySizes {
    is_list: bool,
    key: Range,
    value: Range,
}

impl EntrySizes {
    fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = (a?, b?);
        Some(Self {
            is_list: a.is_list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

/// A variable of a loop or a binding.
struct Local {
    name: Arc<str>,
    path: Path,
    size: Option<Range>,
    entries: Option<EntrySizes>,
}

/// Estimates a checked expression.
pub(crate) fn estimate(environment: &Environment, checked: &Checked) -> Estimate {
    let mut estimator = Estimator {
        environment,
        checked,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    let cost = estimator.cost(checked.root);
    Estimate {
        min: cost.min,
        max: cost.max,
    }
}

struct Estimator<'c> {
    environment: &'c Environment,
    checked: &'c Checked,
    paths: HashMap<Id, Path>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, EntrySizes>,
    locals: Vec<Local>,
}

impl Estimator<'_> {
    fn cost(&mut self, id: Id) -> Range {
        let checked = self.checked;
        match checked.ast.node(id) {
            // The name of a type is a name too.
            Expr::Literal(Value::Type(ty)) => {
                self.paths.insert(id, vec![Arc::from(ty.name())]);
                Range::exactly(SELECT)
            }
            Expr::Broken | Expr::Literal(_) => Range::exactly(0),
            Expr::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![Arc::clone(name)],
                };
                self.paths.insert(id, path);
                Range::exactly(SELECT)
            }
            Expr::Select {
                operand,
                field,
                test_only,
            } => {
                let sum = self.cost(*operand);
                if *test_only {
                    // Looking whether something is there is free.
                    return sum;
                }
                let mut path = self.path(*operand);
                path.push(Arc::clone(field));
                self.paths.insert(id, path);
                match checked.type_of(*operand) {
                    Type::Map(_) | Type::Object(_) | Type::Param(_) => {
                        sum.add(Range::exactly(SELECT))
                    }
                    _ => sum,
                }
            }
            Expr::Call {
                target,
                function,
                args,
            } => self.call(id, *target, function, args),
            Expr::List(elements) => {
                let mut sum = Range::exactly(LIST);
                let mut items = Range::none(elements.is_empty());
                for element in elements {
                    sum = sum.add(self.cost(element.value));
                    items = items.union(self.size_or_unknown(element.value));
                }
                self.entries.insert(
                    id,
                    EntrySizes {
                        is_list: true,
                        key: Range::exactly(1),
                        value: items,
                    },
                );
                sum
            }
            Expr::Map(entries) => {
                let mut sum = Range::exactly(MAP);
                let mut keys = Range::none(entries.is_empty());
                let mut values = keys;
                for entry in entries {
                    sum = sum.add(self.cost(entry.key)).add(self.cost(entry.value));
                    keys = keys.union(self.size_or_unknown(entry.key));
                    values = values.union(self.size_or_unknown(entry.value));
                }
                self.entries.insert(
                    id,
                    EntrySizes {
                        is_list: false,
                        key: keys,
                        value: values,
                    },
                );
                sum
            }
            Expr::Struct { fields, .. } => {
                fields.iter().fold(Range::exactly(OBJECT), |sum, field| {
                    sum.add(self.cost(field.value))
                })
            }
            Expr::Comprehension(loops) if self.is_binding(loops) => self.binding(id, loops),
            Expr::Comprehension(loops) => self.comprehension(id, loops),
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| &*local.name == name)
    }

    /// A loop of no turns, which only names a value.
    fn is_binding(&self, loops: &Comprehension) -> bool {
        let ast = &self.checked.ast;
        matches!(ast.node(loops.range), Expr::List(items) if items.is_empty())
            && matches!(ast.node(loops.condition), Expr::Literal(Value::Bool(false)))
            && &*loops.accumulator != ACCUMULATOR
    }

    fn binding(&mut self, id: Id, loops: &Comprehension) -> Range {
        let sum = self.cost(loops.range).add(self.cost(loops.init));
        self.bind(&loops.accumulator, loops.init);
        let sum = sum.add(self.cost(loops.result));
        self.locals.pop();
        self.copy_sizes(id, loops.result);
        sum
    }

    fn comprehension(&mut self, id: Id, loops: &Comprehension) -> Range {
        let sum = self.cost(loops.range).add(self.cost(loops.init));
        self.bind(&loops.accumulator, loops.init);
        let mut variables = 1;
        match &loops.var2 {
            Some(var2) => {
                self.iterate(&loops.var, loops.range, "@keys", "@indices", true);
                self.iterate(var2, loops.range, "@values", "@items", false);
                variables = 2;
            }
            // Over a list the items, over a map the keys.
            None => {
                let of_key = !self.is_list(loops.range);
                self.iterate(&loops.var, loops.range, "@keys", "@items", of_key);
            }
        }
        let turn = self.cost(loops.condition).add(self.cost(loops.step));
        self.locals.truncate(self.locals.len() - variables);
        let sum = sum.add(self.cost(loops.result));
        self.locals.pop();
        let turns = self.size_or_unknown(loops.range);
        match self.checked.ast.node(loops.init) {
            Expr::Literal(_) => {
                if let Some(size) = self.size(loops.init) {
                    self.sizes.insert(id, size);
                }
            }
            Expr::List(_) | Expr::Map(_) => {
                self.sizes.insert(id, turns);
                if let Some(entries) = self.entry_sizes(loops.step) {
                    self.entries.insert(id, entries);
                }
            }
            _ => {}
        }
        sum.add(turns.multiply(turn))
    }

    fn bind(&mut self, name: &Arc<str>, value: Id) {
        let local = Local {
            name: Arc::clone(name),
            path: self.path(value),
            size: self.size(value),
            entries: self.entry_sizes(value),
        };
        self.locals.push(local);
    }

    fn is_list(&self, range: Id) -> bool {
        match self.entry_sizes(range) {
            Some(entries) => entries.is_list,
            None => matches!(self.checked.type_of(range), Type::List(_)),
        }
    }

    fn iterate(&mut self, name: &Arc<str>, range: Id, of_map: &str, of_list: &str, key: bool) {
        let entries = self.entry_sizes(range);
        let mut path = self.path(range);
        path.push(Arc::from(if self.is_list(range) {
            of_list
        } else {
            of_map
        }));
        self.locals.push(Local {
            name: Arc::clone(name),
            path,
            size: entries.map(|e| if key { e.key } else { e.value }),
            entries: None,
        });
    }

    fn path(&self, id: Id) -> Path {
        if let Expr::Ident(name) = self.checked.ast.node(id)
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&id).cloned().unwrap_or_default()
    }

    fn size_or_unknown(&mut self, id: Id) -> Range {
        self.size(id).unwrap_or(Range::UNKNOWN)
    }

    /// The size of a value: computed, written, declared, that of its type, that of the variable.
    fn size(&mut self, id: Id) -> Option<Range> {
        if let Some(known) = self.sizes.get(&id) {
            return Some(*known);
        }
        if let Some(written) = self.written_size(id) {
            return Some(written);
        }
        if let Some(declared) = self.declared_size(&self.path(id)) {
            self.sizes.insert(id, declared);
            return Some(declared);
        }
        if self.checked.type_of(id).is_scalar() {
            return Some(Range::exactly(1));
        }
        match self.checked.ast.node(id) {
            Expr::Ident(name) => self.local(name).and_then(|local| local.size),
            _ => None,
        }
    }

    fn written_size(&self, id: Id) -> Option<Range> {
        match self.checked.ast.node(id) {
            Expr::Literal(Value::Type(_)) => None,
            Expr::Literal(value) => Some(Range::exactly(value.size())),
            Expr::List(elements) => Some(Range::exactly(elements.len() as u64)),
            Expr::Map(entries) => Some(Range::exactly(entries.len() as u64)),
            _ => None,
        }
    }

    /// The bound that declarations state. Where there is a `self`, upstream takes any path for one from it, whatever its
    /// first step is: that of what an expression yields begins with `@items`.
    fn declared_size(&self, path: &[Arc<str>]) -> Option<Range> {
        let (first, below) = path.split_first()?;
        let root = self.environment.variable("self");
        let root = root.or_else(|| self.environment.variable(first))?;
        let max = root.max_elements_at(below)?;
        Some(Range { min: 0, max })
    }

    fn entry_sizes(&self, id: Id) -> Option<EntrySizes> {
        if let Some(known) = self.entries.get(&id) {
            return Some(*known);
        }
        match self.checked.ast.node(id) {
            Expr::Ident(name) => self.local(name).and_then(|local| local.entries),
            _ => None,
        }
    }

    fn copy_sizes(&mut self, to: Id, from: Id) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to, size);
        }
        if let Some(entries) = self.entry_sizes(from) {
            self.entries.insert(to, entries);
        }
    }
}
