//! The tree of an expression: an arena, whose nodes know where in the text they stand.
//!
//! Macros are expanded while parsing, so that the checker, the estimator of costs and the evaluator see one kind of loop. Children come before
//! their parents. The tree's height is bounded by the parser, so that it can be walked by recursion.

use std::sync::Arc;

use crate::value::Value;

/// A node, by its place in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) u32);

pub(crate) type Name = Arc<str>;

/// A node.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// What could not be parsed; never in a tree that is checked.
    Broken,
    Literal(Value<'static>),
    Ident(Name),
    Select {
        operand: Id,
        field: Name,
        /// `has(operand.field)`.
        test_only: bool,
    },
    Call {
        target: Option<Id>,
        function: Name,
        args: Vec<Id>,
    },
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct {
        name: Name,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
}

/// `x`, or `?x` in a list.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

/// `key: value`, or `?key: value` in a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Id,
    pub(crate) value: Id,
    pub(crate) optional: bool,
}

/// `name: value`, or `?name: value` in an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) value: Id,
    pub(crate) optional: bool,
    /// Of the colon, where complaints point.
    pub(crate) offset: u32,
}

/// `fold`: what all macros over lists and maps become.
#[derive(Clone, Debug)]
pub(crate) struct Comprehension {
    pub(crate) range: Id,
    pub(crate) var: Name,
    pub(crate) var2: Option<Name>,
    pub(crate) accumulator: Name,
    pub(crate) init: Id,
    pub(crate) condition: Id,
    pub(crate) step: Id,
    pub(crate) result: Id,
}

/// The name of accumulators; no identifier can be written so.
pub(crate) const ACCUMULATOR: &str = "@result";

/// The arena.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ast {
    nodes: Vec<Expr>,
    offsets: Vec<u32>,
    heights: Vec<u16>,
}

impl Ast {
    /// Adds a node that stands at a byte of the text.
    pub(crate) fn add(&mut self, offset: u32, expr: Expr) -> Id {
        let mut height = 0;
        expr.children(&mut |child| height = height.max(self.heights[child.0 as usize] + 1));
        let id = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(expr);
        self.offsets.push(offset);
        self.heights.push(height);
        id
    }

    pub(crate) fn node(&self, id: Id) -> &Expr {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn replace(&mut self, id: Id, expr: Expr) {
        self.nodes[id.0 as usize] = expr;
    }

    pub(crate) fn offset(&self, id: Id) -> u32 {
        self.offsets[id.0 as usize]
    }

    /// How many nodes hang one below the other.
    pub(crate) fn height(&self, id: Id) -> u16 {
        self.heights[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

impl Expr {
    /// Visits the direct children.
    pub(crate) fn children(&self, visit: &mut dyn FnMut(Id)) {
        match self {
            Self::Broken | Self::Literal(_) | Self::Ident(_) => {}
            Self::Select { operand, .. } => visit(*operand),
            Self::Call { target, args, .. } => {
                target.iter().for_each(|id| visit(*id));
                args.iter().for_each(|id| visit(*id));
            }
            Self::List(elements) => elements.iter().for_each(|e| visit(e.value)),
            Self::Map(entries) => entries.iter().for_each(|e| {
                visit(e.key);
                visit(e.value);
            }),
            Self::Struct { fields, .. } => fields.iter().for_each(|f| visit(f.value)),
            Self::Comprehension(c) => {
                [c.range, c.init, c.condition, c.step, c.result]
                    .into_iter()
                    .for_each(visit);
            }
        }
    }
}
