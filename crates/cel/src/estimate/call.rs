//! The estimated costs of calls, and the sizes of what they yield.

use std::sync::Arc;

use super::{EntrySizes, Estimator, Path, Range};
use crate::{
    ast::{Expr, Id},
    cost::{self, CHARACTER, Cost, LIST, PATTERN},
    library::formats,
    types::Type,
    value::Value,
};

/// What a call costs besides its arguments, and how large its result is, if that can be said.
struct CallCost {
    cost: Range,
    size: Option<Range>,
}

impl From<Range> for CallCost {
    fn from(cost: Range) -> Self {
        Self { cost, size: None }
    }
}

/// A call as the rules of costs see it: receiver and arguments apart.
struct Call<'c> {
    target: Option<Id>,
    args: &'c [Id],
}

impl Estimator<'_> {
    pub(super) fn call(
        &mut self,
        id: Id,
        target: Option<Id>,
        function: &str,
        args: &[Id],
    ) -> Range {
        if let ("dyn", [arg]) = (function, args) {
            let cost = self.cost(*arg);
            self.copy_sizes(id, *arg);
            return cost.add(Range::exactly(1));
        }
        if let ("_?._", [operand, _]) = (function, args) {
            return self.cost(*operand).add(Range::exactly(1));
        }
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(*arg)).collect();
        let overloads = self.checked.overloads(id).to_vec();
        if overloads.is_empty() {
            return Range::exactly(0);
        }
        let of_target = target.map_or(Range::exactly(0), |target| self.cost(target));
        let sum = costs.iter().fold(Range::exactly(0), |a, b| a.add(*b));
        match (function, args, &costs[..]) {
            // The right side may not be looked at.
            ("_&&_" | "_||_", _, [left, right]) => {
                let size = self.size(id);
                self.keep_size(id, size);
                return Range {
                    min: left.min,
                    max: left.add(*right).max,
                };
            }
            ("_?_:_", [_, then, otherwise], [condition, if_true, if_false]) => {
                let size = self
                    .size_or_unknown(*then)
                    .union(self.size_or_unknown(*otherwise));
                if let Some(entries) =
                    EntrySizes::union(self.entry_sizes(*then), self.entry_sizes(*otherwise))
                {
                    self.entries.insert(id, entries);
                }
                self.sizes.insert(id, size);
                return condition.add(if_true.union(*if_false));
            }
            _ => {}
        }
        let call = Call { target, args };
        let mut cost = Range::none(false);
        let mut size: Option<Range> = None;
        for overload in overloads {
            let estimated = self.overload(id, overload.cost, &call);
            cost = cost.union(estimated.cost);
            size = match (size, estimated.size) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if let ("_[_]", [operand, _]) = (function, args) {
                let step = match overload.params[0] {
                    Type::List(_) => "@items",
                    Type::Map(_) => "@values",
                    _ => continue,
                };
                size = self.entry_sizes(*operand).map(|e| e.value);
                let mut path = self.path(*operand);
                path.push(Arc::from(step));
                self.paths.insert(id, path);
            }
        }
        let size = size.or_else(|| self.size(id));
        self.keep_size(id, size);
        of_target.add(sum).add(cost)
    }

    fn keep_size(&mut self, id: Id, size: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(id, size);
        }
    }

    /// What the items of a list are: by their path if it is known.
    fn items_of(&self, list: Id) -> Option<(Type, Path)> {
        let Type::List(items) = self.checked.type_of(list) else {
            return None;
        };
        let mut path = self.path(list);
        if !path.is_empty() {
            path.push(Arc::from("@items"));
        }
        Some(((**items).clone(), path))
    }

    fn items_size(&self, path: &[Arc<str>]) -> Range {
        self.declared_size(path).unwrap_or(Range::UNKNOWN)
    }

    fn overload(&mut self, id: Id, cost: Cost, call: &Call<'_>) -> CallCost {
        let unit = CallCost::from(Range::exactly(1));
        // With the receiver first, as evaluation sees them.
        let all: Vec<Id> = call.target.iter().chain(call.args).copied().collect();
        let Some(first) = all.first().copied() else {
            return unit;
        };
        let second = all.get(1).copied();
        let size = self.size_or_unknown(first);
        match cost {
            Cost::Unit => unit,
            Cost::ScanTwice => size.scale(2.0 * CHARACTER).into(),
            Cost::Fixed(cost) => Range::exactly(cost).into(),
            Cost::Scan | Cost::Format => size.scale(CHARACTER).into(),
            // Of the text sought, not the one searched: so upstream estimates.
            Cost::Affix => match second {
                Some(affix) => self.size_or_unknown(affix).scale(CHARACTER).into(),
                None => unit,
            },
            Cost::ScanKeep => CallCost {
                cost: size.scale(CHARACTER),
                size: Some(size),
            },
            Cost::ToBytes => CallCost {
                cost: size.scale(CHARACTER),
                size: Some(Range {
                    min: size.min,
                    max: size.max.saturating_mul(4),
                }),
            },
            Cost::ToText => CallCost {
                cost: size.scale(CHARACTER),
                size: Some(Range {
                    min: size.min / 4,
                    max: size.max,
                }),
            },
            Cost::Quote => CallCost {
                cost: size.scale(CHARACTER),
                size: Some(Range {
                    min: size.min.saturating_add(2),
                    max: size.max.saturating_mul(2).saturating_add(2),
                }),
            },
            Cost::InList => match second {
                Some(list) => self.size_or_unknown(list).into(),
                None => unit,
            },
            Cost::Compare => match second {
                Some(second) => self.compare(first, second),
                None => unit,
            },
            Cost::Concat | Cost::ConcatList => match second {
                Some(second) => self.concat(id, first, second, cost),
                None => unit,
            },
            // Upstream forgets the form without a receiver.
            Cost::Matches if call.target.is_none() => unit,
            Cost::Matches | Cost::Find => match second {
                Some(pattern) => {
                    let text = size.add(Range::exactly(1)).scale(CHARACTER);
                    let pattern = self.size_or_unknown(pattern).scale(PATTERN);
                    CallCost {
                        cost: text.multiply(pattern),
                        size: (cost == Cost::Find).then_some(Range {
                            min: 0,
                            max: size.max,
                        }),
                    }
                }
                None => unit,
            },
            Cost::Contains => match second {
                Some(sought) => size
                    .scale(CHARACTER)
                    .multiply(self.size_or_unknown(sought).scale(CHARACTER))
                    .into(),
                None => unit,
            },
            Cost::Items => self.over_items(first, size).into(),
            Cost::Replace => match all[..] {
                [_, old, new, ..] => CallCost {
                    cost: size.scale(2.0 * CHARACTER),
                    size: Some(replaced(
                        size,
                        self.size_or_unknown(old),
                        self.size_or_unknown(new),
                    )),
                },
                _ => unit,
            },
            Cost::Split => {
                let max = match all.get(2).map(|limit| self.checked.ast.node(*limit)) {
                    // A negative limit is taken for a very large one.
                    Some(Expr::Literal(Value::Int(limit))) => limit.cast_unsigned(),
                    _ => size.max,
                };
                CallCost {
                    cost: size.scale(2.0 * CHARACTER),
                    size: Some(Range { min: 0, max }),
                }
            }
            Cost::Join => {
                let mut joined = match self.items_of(first) {
                    Some((_, path)) => size.multiply(self.items_size(&path)),
                    None => Range::exactly(0),
                };
                if let Some(separator) = second {
                    let gaps = Range {
                        min: size.min.saturating_sub(1),
                        max: size.max.saturating_sub(1),
                    };
                    joined = joined.add(self.size_or_unknown(separator).multiply(gaps));
                }
                CallCost {
                    cost: joined.scale(CHARACTER),
                    size: Some(joined),
                }
            }
            Cost::Selector | Cost::Validate => match second {
                Some(text) => {
                    let text = self.size_or_unknown(text);
                    if cost == Cost::Selector {
                        Range {
                            min: cost::selector(text.min),
                            max: cost::selector(text.max),
                        }
                        .into()
                    } else {
                        text.scale(CHARACTER)
                            .scale(formats::LONGEST_PATTERN as f64 * PATTERN)
                            .into()
                    }
                }
                None => unit,
            },
            Cost::ContainsIp(text) | Cost::ContainsCidr(text) => {
                // Four bytes or sixteen.
                let bytes = Range { min: 4, max: 16 };
                let mut sum = bytes.add(bytes).scale(CHARACTER);
                if matches!(cost, Cost::ContainsCidr(_)) {
                    sum = sum.add(bytes.scale(CHARACTER)).add(Range::exactly(1));
                }
                match second {
                    Some(second) if text => sum
                        .add(self.size_or_unknown(second).scale(CHARACTER))
                        .into(),
                    _ => sum.into(),
                }
            }
            Cost::Product(factor) => match second {
                Some(second) => size
                    .multiply(self.size_or_unknown(second))
                    .multiply(Range::exactly(factor))
                    .add(Range::exactly(1))
                    .into(),
                None => unit,
            },
            Cost::ListResult => {
                let result = self.resulting_list(call, size);
                allocating(1.0, result)
            }
            Cost::Flatten => {
                let depth = match second {
                    Some(depth) => self.literal(depth).unwrap_or(u64::MAX),
                    None => 1,
                };
                allocating(depth as f64, size)
            }
            Cost::SelfCompare => allocating(2.0, size.multiply(size)),
            Cost::SortBy => {
                let keys = second.map_or(size, |keys| self.size_or_unknown(keys));
                allocating(2.0, keys.multiply(keys))
            }
        }
    }

    /// Equality and order: as far as the shorter reaches. Kubernetes' own types know better.
    fn compare(&mut self, first: Id, second: Id) -> CallCost {
        let (a, b) = (self.size_or_unknown(first), self.size_or_unknown(second));
        if let (Type::Opaque(name), true) = (
            self.checked.type_of(first),
            self.checked.type_of(first) == self.checked.type_of(second),
        ) {
            let max = match *name {
                "kubernetes.NamedFormat" => formats::LONGEST_NAME,
                "kubernetes.URL" if b.max < u64::MAX => a.max.min(b.max),
                _ => 1,
            };
            return Range { min: 1, max }.scale(CHARACTER).into();
        }
        let max = a.max.min(b.max);
        Range {
            min: u64::from(max > 0),
            max,
        }
        .scale(CHARACTER)
        .into()
    }

    fn concat(&mut self, id: Id, first: Id, second: Id, cost: Cost) -> CallCost {
        let size = self
            .size_or_unknown(first)
            .add(self.size_or_unknown(second));
        if let Some(entries) = EntrySizes::union(self.entry_sizes(first), self.entry_sizes(second))
        {
            self.entries.insert(id, entries);
        }
        CallCost {
            cost: match cost {
                Cost::ConcatList => Range::exactly(1),
                _ => size.scale(CHARACTER),
            },
            size: Some(size),
        }
    }

    /// Each item once; texts and bytes with their length.
    fn over_items(&mut self, list: Id, size: Range) -> Range {
        let Some((items, path)) = self.items_of(list) else {
            // A text, which `indexOf` searches too.
            return size.scale(CHARACTER);
        };
        let mut each = Range::exactly(1);
        if matches!(items, Type::String | Type::Bytes) {
            each = each.add(self.items_size(&path).scale(CHARACTER));
        }
        size.multiply(each)
    }

    /// The size of `slice`, `lists.range` and `reverse`.
    fn resulting_list(&self, call: &Call<'_>, size: Range) -> Range {
        match (call.target, call.args) {
            (Some(_), [start, end]) => {
                let start = self.literal(*start).unwrap_or(0);
                let end = self.literal(*end).unwrap_or(size.max);
                Range::exactly(end.saturating_sub(start))
            }
            (None, [count]) => Range::exactly(self.literal(*count).unwrap_or(u64::MAX)),
            _ => size,
        }
    }

    fn literal(&self, id: Id) -> Option<u64> {
        match self.checked.ast.node(id) {
            Expr::Literal(Value::Int(value)) => Some(u64::try_from(*value).unwrap_or(0)),
            _ => None,
        }
    }
}

/// A call that makes a list.
fn allocating(factor: f64, size: Range) -> CallCost {
    CallCost {
        cost: size.scale(factor).add(Range::exactly(1 + LIST)),
        size: Some(size),
    }
}

/// How long a text is after `replace`: the most and the least that replacements can make of it.
fn replaced(text: Range, old: Range, new: Range) -> Range {
    let (most, kept) = if old.min == 0 {
        // Nothing is found between all characters.
        (text.max.saturating_add(1), text.max)
    } else if new.max <= old.min {
        (0, text.max)
    } else {
        (text.max.div_ceil(old.min), 0)
    };
    let max = most.saturating_mul(new.max).saturating_add(kept);
    let (least, kept) = if old.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if old.max <= new.min {
        (0, text.min)
    } else {
        (text.min.div_ceil(old.max), 0)
    };
    Range {
        min: least.saturating_mul(new.min).saturating_add(kept),
        max,
    }
}
