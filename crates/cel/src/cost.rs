//! What evaluations cost, and how much they may.
//!
//! Costs are counted as upstream counts them, so that an expression that upstream lets run runs here, and one that it stops is stopped: a name or a selection
//! costs 1, a list 10, a map 30, an object 40, a call what its overload's [`Cost`] says.

use crate::{library::Opaque, value::Value};

/// What one evaluation may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all evaluations for one object or policy may cost together.
pub const RUNTIME_COST_BUDGET: u64 = 10_000_000;

/// Of a name or a selection.
pub(crate) const SELECT: u64 = 1;
/// Of making a list.
pub(crate) const LIST: u64 = 10;
/// Of making a map.
pub(crate) const MAP: u64 = 30;
/// Of making an object.
pub(crate) const OBJECT: u64 = 40;
/// Of going over one character.
pub(crate) const CHARACTER: f64 = 0.1;
/// Of one character of a pattern.
pub(crate) const PATTERN: f64 = 0.25;

/// What several evaluations share.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    per_call: u64,
    remaining: u64,
}

impl Default for Budget {
    /// Upstream's for one object or policy.
    fn default() -> Self {
        Self::new(RUNTIME_COST_BUDGET)
    }
}

impl Budget {
    /// So much in all, and [`PER_CALL_LIMIT`] each time.
    pub fn new(total: u64) -> Self {
        Self {
            per_call: PER_CALL_LIMIT,
            remaining: total,
        }
    }

    /// With another limit for each evaluation.
    #[must_use]
    pub fn with_per_call_limit(mut self, limit: u64) -> Self {
        self.per_call = limit;
        self
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn per_call(&self) -> u64 {
        self.per_call
    }

    /// Takes what an evaluation cost; false if there was not so much left.
    pub(crate) fn take(&mut self, cost: u64) -> bool {
        let enough = cost <= self.remaining;
        self.remaining = self.remaining.saturating_sub(cost);
        enough
    }
}

/// How an overload's cost follows from its arguments. `estimate` has the same rules for what is only bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cost {
    /// 1.
    Unit,
    /// A certain number.
    Fixed(u64),
    /// The text at whose end or beginning is looked.
    Affix,
    /// A text into bytes.
    ToBytes,
    /// Bytes into a text.
    ToText,
    /// A text and its format's arguments.
    Format,
    /// A text into its quoted form.
    Quote,
    /// Each item of the list that is searched.
    InList,
    /// The shorter of two.
    Compare,
    /// Both texts are copied.
    Concat,
    /// Two lists become one, without copying upstream.
    ConcatList,
    /// Each place of the text with each part of the pattern.
    Matches,
    /// Each place of the text with each of the text sought.
    Contains,
    /// Each item, each with all that is in it.
    Items,
    /// The text that is the first argument, once.
    Scan,
    /// The text once; the result is as long at most.
    ScanKeep,
    /// The text twice: once read, once written.
    Replace,
    /// Like `Replace`, into a list.
    Split,
    /// The result twice.
    Join,
    /// `find`, `findAll`: like `Matches`.
    Find,
    /// The text twice.
    ScanTwice,
    /// A selector's text, and the requirements that may be in it.
    Selector,
    /// A named format's pattern against a text.
    Validate,
    /// An address in a range; of a text if true.
    ContainsIp(bool),
    /// A range in a range; of a text if true.
    ContainsCidr(bool),
    /// Each item with each of the other, so many times.
    Product(u64),
    /// Each item of the list that results.
    ListResult,
    /// Each item as deep as asked.
    Flatten,
    /// Each item with each other.
    SelfCompare,
    /// Each key of the second list with each other.
    SortBy,
}

/// Of matching a text of a size with a pattern of a size.
pub(crate) fn matches(text: u64, pattern: u64) -> u64 {
    times(text + 1, CHARACTER).saturating_mul(times(pattern, PATTERN))
}

fn times(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

impl Cost {
    /// What a call cost.
    pub(crate) fn of_call(self, args: &[Value<'_>], result: &Value<'_>) -> u64 {
        let size = |at: usize| args.get(at).map_or(1, Value::size);
        let scan = |at: usize| times(size(at), CHARACTER);
        match self {
            Self::Unit | Self::ConcatList => 1,
            Self::Fixed(cost) => cost,
            Self::Affix
            | Self::ToBytes
            | Self::ToText
            | Self::Format
            | Self::Quote
            | Self::Scan
            | Self::ScanKeep => scan(0),
            Self::InList => size(1),
            Self::Compare if matches!(args.first(), Some(Value::Opaque(_))) => 1,
            Self::Compare => times(size(0).min(size(1)), CHARACTER),
            Self::Concat => times(size(0).saturating_add(size(1)), CHARACTER),
            Self::Matches | Self::Find => {
                times(size(0) + 1, CHARACTER).saturating_mul(times(size(1), PATTERN))
            }
            Self::Contains => scan(0).saturating_mul(scan(1)),
            Self::Items => args.first().map_or(0, traversal),
            Self::Replace | Self::Split | Self::ScanTwice => times(size(0), 2.0 * CHARACTER),
            Self::Join => times(result.size(), 2.0 * CHARACTER),
            Self::Selector => selector(size(1)),
            Self::Validate => {
                let pattern = match args.first() {
                    Some(Value::Opaque(opaque)) => match &**opaque {
                        Opaque::Format(format) => format.pattern_size,
                        _ => 0,
                    },
                    _ => 0,
                };
                times(size(1) + 1, CHARACTER).saturating_mul(times(pattern, PATTERN))
            }
            Self::ContainsIp(text) => {
                times(2 * size(0), CHARACTER) + if text { scan(1) } else { 0 }
            }
            Self::ContainsCidr(text) => {
                times(2 * size(0), CHARACTER) + scan(0) + 1 + if text { scan(1) } else { 0 }
            }
            Self::Product(factor) => size(0).saturating_mul(size(1)).saturating_mul(factor) + 1,
            Self::ListResult => result.size() + 1 + LIST,
            Self::Flatten => {
                let depth = match args.get(1) {
                    Some(Value::Int(depth)) => depth.unsigned_abs(),
                    _ => 1,
                };
                size(0).saturating_mul(depth).saturating_add(1 + LIST)
            }
            Self::SelfCompare => self_compare(args.first()),
            Self::SortBy => self_compare(args.get(1)),
        }
    }
}

/// Of a selector of a length: its text once, and a requirement in every two characters.
pub(crate) fn selector(length: u64) -> u64 {
    const BASE: u64 = 10;
    const REQUIREMENT: u64 = 50;
    let requirements = length.div_ceil(2);
    requirements
        .saturating_mul(REQUIREMENT)
        .saturating_add(times(length, CHARACTER))
        .saturating_add(BASE)
}

fn self_compare(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else {
        return 1 + LIST;
    };
    let factor = match list.get(0) {
        Some(Value::String(_) | Value::Bytes(_)) => 2.0 + CHARACTER,
        _ => 2.0,
    };
    let size = list.len() as u64;
    ((size.saturating_mul(size)) as f64 * factor) as u64 + 1 + LIST
}

/// The cost of going over a value as a tree. Stops counting beyond what any evaluation may cost: values that share their parts can be
/// exponentially large.
fn traversal(value: &Value<'_>) -> u64 {
    fn walk(value: &Value<'_>, steps: &mut u64) -> u64 {
        *steps += 1;
        if *steps > 10 * PER_CALL_LIMIT {
            return PER_CALL_LIMIT;
        }
        match value {
            Value::String(text) => (text.len() as f64 * CHARACTER) as u64,
            Value::Bytes(bytes) => (bytes.len() as f64 * CHARACTER) as u64,
            Value::List(list) => list
                .iter()
                .fold(0, |sum: u64, item| sum.saturating_add(walk(&item, steps))),
            Value::Map(map) => map.entries().iter().fold(0, |sum: u64, (key, value)| {
                sum.saturating_add(walk(key, steps))
                    .saturating_add(walk(value, steps))
            }),
            _ => 1,
        }
    }
    walk(value, &mut 0)
}
