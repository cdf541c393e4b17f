//! Operands: names, calls, selections, literals, lists, maps, objects.

use std::sync::Arc;

use super::{FIRST, Failure, Parser, Rule};
use crate::{
    ast::{Element, Entry, Expr, Field, Id, Name},
    lexer::{Kind, Set},
    value::Value,
    words::KEPT,
};

const OPTIONAL: Set = Set::of(&[Kind::Question]);
const FIELD_NAME: Set = Set::of(&[Kind::Identifier, Kind::Escaped]);
const COMMA: Set = Set::of(&[Kind::Comma]);

impl Parser<'_> {
    /// `a.b`, `a.b(c)`, `a[b]`, `a.?b`, `a[?b]`, one after the other.
    pub(super) fn member(&mut self) -> Rule {
        let (mut operand, mut plain) = self.primary()?;
        loop {
            match self.kind() {
                Kind::Dot => {
                    let was_plain = plain;
                    plain &= self.kind_after(1) == Kind::Identifier
                        && self.kind_after(2) != Kind::LeftParen;
                    operand = self.selection(operand, was_plain)?;
                }
                Kind::LeftBracket => {
                    plain = false;
                    operand = self.index(operand)?;
                }
                _ => return Ok(operand),
            }
        }
    }

    /// `plain`: what came before are names and dots alone, which might have begun the name of a type.
    fn selection(&mut self, operand: Id, plain: bool) -> Rule {
        let dot = self.token();
        match self.kind_after(1) {
            Kind::Question => {
                self.advance();
                self.advance();
                let at = self.token().start;
                let name = self.field_name().inspect_err(|failure| {
                    self.report(failure);
                    self.issues.report(at, "unsupported ident kind");
                })?;
                let field = self.literal_string(dot.start, name);
                Ok(self.call(dot.start, "_?._", vec![operand, field]))
            }
            Kind::Identifier if self.kind_after(2) == Kind::LeftParen => {
                self.advance();
                let token = self.advance();
                let name = self.name(token);
                let paren = self.advance();
                let args = self.arguments()?;
                Ok(self.written_call(paren.start, Some(operand), name, args))
            }
            Kind::Identifier | Kind::Escaped => {
                self.advance();
                let token = self.advance();
                if token.kind == Kind::Escaped {
                    // The grammar has names in backticks, Kubernetes does not let them be used.
                    self.issues.report(token.start, "unsupported syntax: '`'");
                }
                let field = self.name(token);
                Ok(self.add(
                    dot.start,
                    Expr::Select {
                        operand,
                        field,
                        test_only: false,
                    },
                ))
            }
            next => {
                self.advance();
                if plain && matches!(next, Kind::True | Kind::False | Kind::Null) {
                    return Err(Failure::Mismatch(Set::of(&[Kind::Identifier])));
                }
                Err(Failure::NoViable {
                    start: dot.start,
                    at: self.at,
                })
            }
        }
    }

    fn index(&mut self, operand: Id) -> Rule {
        let bracket = self.advance();
        self.sync(FIRST.or(OPTIONAL))?;
        let function = match self.accept(Kind::Question) {
            Some(_) => "_[?_]",
            None => "_[_]",
        };
        let index = self.nested(Set::of(&[Kind::RightBracket]));
        self.expect(Kind::RightBracket)?;
        Ok(self.call(bracket.start, function, vec![operand, index]))
    }

    /// An expression that may be followed by these.
    fn nested(&mut self, follow: Set) -> Id {
        self.follow.push(follow);
        let id = self.expr();
        self.follow.pop();
        id
    }

    /// After `(`: the arguments and `)`.
    fn arguments(&mut self) -> Rule<Vec<Id>> {
        const CLOSE: Set = Set::of(&[Kind::RightParen]);
        self.sync(FIRST.or(CLOSE))?;
        let mut args = Vec::new();
        if FIRST.has(self.kind()) {
            args.push(self.nested(CLOSE.or(COMMA)));
            while self.accept(Kind::Comma).is_some() {
                args.push(self.nested(CLOSE.or(COMMA)));
            }
        }
        self.expect(Kind::RightParen)?;
        Ok(args)
    }

    fn field_name(&mut self) -> Rule<Name> {
        self.sync(FIELD_NAME)?;
        let token = self.advance();
        Ok(self.name(token))
    }

    fn literal_string(&mut self, offset: u32, text: Name) -> Id {
        self.add(offset, Expr::Literal(Value::from(text)))
    }

    /// The operand, and whether it is but a name.
    fn primary(&mut self) -> Rule<(Id, bool)> {
        self.sync(FIRST)?;
        let token = self.token();
        let id = match token.kind {
            Kind::LeftParen => {
                self.advance();
                let inner = self.nested(Set::of(&[Kind::RightParen]));
                self.expect(Kind::RightParen)?;
                inner
            }
            Kind::LeftBracket => self.list()?,
            Kind::LeftBrace => self.map()?,
            Kind::Identifier | Kind::Dot => return self.named(),
            Kind::Not => return Err(Failure::Mismatch(FIRST)),
            Kind::Minus if !matches!(self.kind_after(1), Kind::Int | Kind::Float) => {
                return Err(Failure::NoViable {
                    start: token.start,
                    at: self.at + 1,
                });
            }
            _ => self.literal(),
        };
        Ok((id, false))
    }

    /// A name, a call, or an object: `x`, `.x`, `f(…)`, `a.b.C{…}`.
    fn named(&mut self) -> Rule<(Id, bool)> {
        let first = self.token();
        let dot = self.accept(Kind::Dot);
        if dot.is_some() && self.kind() != Kind::Identifier {
            return Err(Failure::NoViable {
                start: first.start,
                at: self.at,
            });
        }
        if let Some(length) = self.object_name() {
            return Ok((self.object(length, dot.is_some())?, false));
        }
        let token = self.advance();
        let mut name = self.name(token);
        if KEPT.contains(&&*name) {
            self.issues
                .report(token.start, format!("reserved identifier: {name}"));
            return Ok((self.add(token.start, Expr::Broken), false));
        }
        if dot.is_some() {
            name = Arc::from(format!(".{name}"));
        }
        if self.kind() == Kind::LeftParen {
            let paren = self.advance();
            let args = self.arguments()?;
            return Ok((self.written_call(paren.start, None, name, args), false));
        }
        Ok((self.add(token.start, Expr::Ident(name)), true))
    }

    /// How many names joined by dots stand before a `{`, if so.
    fn object_name(&self) -> Option<usize> {
        let mut names = 1;
        let mut ahead = 1;
        while self.kind_after(ahead) == Kind::Dot && self.kind_after(ahead + 1) == Kind::Identifier
        {
            names += 1;
            ahead += 2;
        }
        (self.kind_after(ahead) == Kind::LeftBrace).then_some(names)
    }

    fn object(&mut self, names: usize, absolute: bool) -> Rule {
        const CLOSE: Set = Set::of(&[Kind::RightBrace]);
        let mut name = String::from(if absolute { "." } else { "" });
        for at in 0..names {
            if at > 0 {
                self.advance();
                name.push('.');
            }
            let token = self.advance();
            name.push_str(self.text(token));
        }
        let brace = self.advance();
        self.sync(FIELD_NAME.or(OPTIONAL).or(COMMA).or(CLOSE))?;
        let mut fields = Vec::new();
        if FIELD_NAME.or(OPTIONAL).has(self.kind()) {
            self.catch(CLOSE.or(COMMA), |parser| {
                loop {
                    let optional = parser.accept(Kind::Question).is_some();
                    let name = parser.field_name()?;
                    let offset = parser.expect(Kind::Colon)?.start;
                    let value = parser.nested(CLOSE.or(COMMA));
                    fields.push(Field {
                        name,
                        value,
                        optional,
                        offset,
                    });
                    if !parser.another(FIELD_NAME.or(OPTIONAL)) {
                        return Ok(());
                    }
                }
            });
        }
        self.end(Kind::RightBrace)?;
        Ok(self.add(
            brace.start,
            Expr::Struct {
                name: Arc::from(name),
                fields,
            },
        ))
    }

    fn list(&mut self) -> Rule {
        const CLOSE: Set = Set::of(&[Kind::RightBracket]);
        let bracket = self.advance();
        self.sync(FIRST.or(OPTIONAL).or(COMMA).or(CLOSE))?;
        let mut elements = Vec::new();
        if FIRST.or(OPTIONAL).has(self.kind()) {
            loop {
                let optional = self.accept(Kind::Question).is_some();
                let value = self.nested(CLOSE.or(COMMA));
                elements.push(Element { value, optional });
                if !self.another(FIRST.or(OPTIONAL)) {
                    break;
                }
            }
        }
        self.end(Kind::RightBracket)?;
        Ok(self.add(bracket.start, Expr::List(elements)))
    }

    fn map(&mut self) -> Rule {
        const CLOSE: Set = Set::of(&[Kind::RightBrace]);
        let brace = self.advance();
        self.sync(FIRST.or(OPTIONAL).or(COMMA).or(CLOSE))?;
        let mut entries = Vec::new();
        if FIRST.or(OPTIONAL).has(self.kind()) {
            self.catch(CLOSE.or(COMMA), |parser| {
                loop {
                    let optional = parser.accept(Kind::Question).is_some();
                    let key = parser.nested(Set::of(&[Kind::Colon]));
                    parser.expect(Kind::Colon)?;
                    let value = parser.nested(CLOSE.or(COMMA));
                    entries.push(Entry {
                        key,
                        value,
                        optional,
                    });
                    if !parser.another(FIRST.or(OPTIONAL)) {
                        return Ok(());
                    }
                }
            });
        }
        self.end(Kind::RightBrace)?;
        Ok(self.add(brace.start, Expr::Map(entries)))
    }

    /// Takes a comma if a further item follows it; a last one is left to [`Self::end`].
    fn another(&mut self, first: Set) -> bool {
        let more = self.kind() == Kind::Comma && first.has(self.kind_after(1));
        if more {
            self.advance();
        }
        more
    }

    /// A last comma, and the bracket.
    fn end(&mut self, close: Kind) -> Rule<()> {
        self.sync(Set::of(&[close, Kind::Comma]))?;
        self.accept(Kind::Comma);
        self.expect(close)?;
        Ok(())
    }
}
