//! Which type may stand where which is wanted; what variables in types stand for.
//!
//! A failed attempt is undone from a trail, so that checking stays linear however many variables there are.

use std::sync::Arc;

use crate::types::Type;

/// Variables below this are those of signatures.
const FIRST_FRESH: u32 = 1000;

/// What each fresh variable stands for, as far as is known.
#[derive(Default)]
pub(super) struct Assignment {
    bound: Vec<Option<Type>>,
    /// What changed, and what was there before.
    trail: Vec<(usize, Option<Type>)>,
}

fn slot(param: u32) -> Option<usize> {
    param.checked_sub(FIRST_FRESH).map(|at| at as usize)
}

impl Assignment {
    /// A new variable.
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(FIRST_FRESH + u32::try_from(self.bound.len() - 1).unwrap_or(u32::MAX))
    }

    /// A signature with new variables.
    pub(super) fn instantiate(&mut self, params: &[Type], result: &Type) -> (Vec<Type>, Type) {
        let mut named: Vec<(u32, Type)> = Vec::new();
        let params = params.iter().map(|ty| self.renew(ty, &mut named)).collect();
        let result = self.renew(result, &mut named);
        (params, result)
    }

    fn renew(&mut self, ty: &Type, named: &mut Vec<(u32, Type)>) -> Type {
        match ty {
            Type::Param(name) => match named.iter().find(|(known, _)| known == name) {
                Some((_, fresh)) => fresh.clone(),
                None => {
                    let fresh = self.fresh();
                    named.push((*name, fresh.clone()));
                    fresh
                }
            },
            Type::List(of) => Type::list(self.renew(of, named)),
            Type::Optional(of) => Type::optional(self.renew(of, named)),
            Type::Type(of) => Type::type_of(self.renew(of, named)),
            Type::Map(map) => Type::map(self.renew(&map.0, named), self.renew(&map.1, named)),
            _ => ty.clone(),
        }
    }

    fn find(&self, param: u32) -> Option<&Type> {
        self.bound.get(slot(param)?)?.as_ref()
    }

    /// The type with all known variables replaced; the unknown by `dyn` if asked.
    pub(super) fn resolve(&self, ty: &Type, unknown_to_dyn: bool) -> Type {
        match ty {
            Type::Param(name) => match self.find(*name) {
                Some(bound) => self.resolve(bound, unknown_to_dyn),
                None if unknown_to_dyn => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(of) => Type::List(self.resolve_shared(of, unknown_to_dyn)),
            Type::Optional(of) => Type::Optional(self.resolve_shared(of, unknown_to_dyn)),
            Type::Type(of) => Type::Type(self.resolve_shared(of, unknown_to_dyn)),
            Type::Map(map) => Type::map(
                self.resolve(&map.0, unknown_to_dyn),
                self.resolve(&map.1, unknown_to_dyn),
            ),
            _ => ty.clone(),
        }
    }

    fn resolve_shared(&self, of: &Arc<Type>, unknown_to_dyn: bool) -> Arc<Type> {
        match &**of {
            Type::Param(_) | Type::List(_) | Type::Optional(_) | Type::Type(_) | Type::Map(_) => {
                Arc::new(self.resolve(of, unknown_to_dyn))
            }
            _ => Arc::clone(of),
        }
    }

    /// Whether the second may stand where the first is wanted; variables are bound if so, and untouched if not.
    pub(super) fn assignable(&mut self, wanted: &Type, given: &Type) -> bool {
        let mark = self.trail.len();
        let fits = self.fits(wanted, given);
        if !fits {
            self.undo(mark);
        }
        fits
    }

    /// Each of the first against each of the second.
    pub(super) fn all_assignable(&mut self, given: &[Type], params: &[Type]) -> bool {
        let mark = self.trail.len();
        let fits =
            given.len() == params.len() && given.iter().zip(params).all(|(a, b)| self.fits(a, b));
        if !fits {
            self.undo(mark);
        }
        fits
    }

    fn undo(&mut self, mark: usize) {
        for (at, before) in self.trail.drain(mark..).rev() {
            self.bound[at] = before;
        }
    }

    fn bind(&mut self, param: u32, ty: &Type) {
        if let Some(at) = slot(param) {
            let before = self.bound[at].replace(ty.clone());
            self.trail.push((at, before));
        }
    }

    fn fits(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Param(name) = b {
            let (valid, known) = self.substitutes(a, *name);
            if valid || known {
                return valid;
            }
        }
        if let Type::Param(name) = a {
            return self.substitutes(b, *name).0;
        }
        match (a, b) {
            _ if a.is_dyn_or_error() || b.is_dyn_or_error() => true,
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            _ => a == b,
        }
    }

    /// Whether a type may stand for a variable, and whether the variable stood for something already.
    fn substitutes(&mut self, ty: &Type, param: u32) -> (bool, bool) {
        if *ty == Type::Param(param) {
            return (true, true);
        }
        if let Some(bound) = self.find(param).cloned() {
            let mark = self.trail.len();
            if self.fits(ty, &bound) {
                // The wider of the two stands from now on.
                let wider = is_less_specific(ty, &bound) && *ty != bound;
                if wider && !matches!(bound, Type::Param(_)) && !self.occurs(param, ty) {
                    self.bind(param, ty);
                }
                return (true, true);
            }
            self.undo(mark);
            return (false, true);
        }
        if self.occurs(param, ty) {
            return (false, false);
        }
        self.bind(param, ty);
        (true, false)
    }

    fn occurs(&self, param: u32, within: &Type) -> bool {
        match within {
            Type::Param(name) if *name == param => true,
            Type::Param(name) => self.find(*name).is_some_and(|ty| self.occurs(param, ty)),
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.occurs(param, of),
            Type::Map(map) => self.occurs(param, &map.0) || self.occurs(param, &map.1),
            _ => false,
        }
    }

    /// Of two types that fit each other, the wider.
    pub(super) fn most_general(&self, a: Type, b: Type) -> Type {
        if is_less_specific(&a, &b) { a } else { b }
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Null
            | Type::Duration
            | Type::Timestamp
            | Type::Object(_)
            | Type::Opaque(_)
            | Type::Optional(_)
    )
}

/// Whether the first says as much as the second, or less.
fn is_less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            is_less_specific(a, b)
        }
        (Type::Map(a), Type::Map(b)) => {
            is_less_specific(&a.0, &b.0) && is_less_specific(&a.1, &b.1)
        }
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
