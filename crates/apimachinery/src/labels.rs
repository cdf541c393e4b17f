//! Label selectors: the text of requests (`a=b,c in (d,e),!f`) and `LabelSelector` objects, parsed, printed and matched.
//!
//! The grammar, its errors and what counts as a match are those of `k8s.io/apimachinery/pkg/labels`: a requirement on a value also
//! matches when the key is absent if it is a negative one (`!=`, `notin`, `!`).

use std::fmt;

use serde_json::Value;

use crate::{
    Object,
    field::{FieldError, Path},
    meta::StringMap,
};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`.
    NotIn,
    /// `key=a`.
    Equals,
    /// `key==a`.
    DoubleEquals,
    /// `key!=a`.
    NotEquals,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Of the label.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// With these; sorted, each once.
    pub values: Vec<String>,
}

/// All of its requirements must hold; without any, it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
    /// Matches nothing at all; what upstream calls `Nothing()`.
    nothing: bool,
}

impl Requirement {
    /// Checked as upstream checks them.
    ///
    /// # Errors
    /// The complaint about the key or the values.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, FieldError> {
        let root = Path::new("");
        let path = root.child("values");
        if let Some(message) = key_error(key) {
            return Err(FieldError::invalid(&root, key, message));
        }
        let shown = || Value::from(values.clone());
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                let message = "for 'in', 'notin' operators, values set can't be empty";
                return Err(FieldError::invalid(&path, shown(), message));
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                let message = "exact-match compatibility requires one single value";
                return Err(FieldError::invalid(&path, shown(), message));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                let message = "values set must be empty for exists and does not exist";
                return Err(FieldError::invalid(&path, shown(), message));
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    let message = "for 'Gt', 'Lt' operators, exactly one value is required";
                    return Err(FieldError::invalid(&path, shown(), message));
                }
                if values[0].parse::<i64>().is_err() {
                    let message = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(FieldError::invalid(
                        &path.index(0),
                        values[0].clone(),
                        message,
                    ));
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(message) = value_error(value) {
                return Err(FieldError::invalid(
                    &path.index(index).key(key),
                    value.clone(),
                    message,
                ));
            }
        }
        values.sort();
        values.dedup();
        Ok(Self {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// Whether labels satisfy it; `get` gives the value of a label.
    fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let value = get(&self.key);
        let is_in = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(is_in),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(is_in),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = |text: &str| text.parse::<i64>().ok();
                let (Some(value), Some(bound)) = (
                    value.and_then(number),
                    self.values.first().and_then(|v| number(v)),
                ) else {
                    return false;
                };
                if self.operator == Operator::GreaterThan {
                    value > bound
                } else {
                    value < bound
                }
            }
        }
    }
}

impl Selector {
    /// Matches everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Matches nothing.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Of requirements that must all hold; kept sorted by key, as upstream prints them.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Parses the text of a request.
    ///
    /// # Errors
    /// As upstream words them.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser::new(text).parse().map(Self::new)
    }

    /// Of a `LabelSelector` object (`matchLabels`, `matchExpressions`). None selects nothing, an empty one everything.
    ///
    /// # Errors
    /// The complaint about a key, an operator or the values.
    pub fn from_object(selector: Option<&Object>) -> Result<Self, String> {
        let Some(selector) = selector else {
            return Ok(Self::nothing());
        };
        let mut requirements = Vec::new();
        for (key, value) in selector
            .get("matchLabels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements
                .push(Requirement::new(key, Operator::In, values).map_err(|e| e.to_string())?);
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text = |key: &str| {
                expression
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned);
            let requirement = Requirement::new(text("key"), operator, values.collect());
            requirements.push(requirement.map_err(|e| e.to_string())?);
        }
        Ok(Self::new(requirements))
    }

    /// Of a plain map of labels, as Services and ReplicationControllers select. An empty one matches everything.
    pub fn from_map(labels: &StringMap) -> Self {
        let requirement = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
        };
        Self::new(labels.iter().map(requirement).collect())
    }

    /// Whether it says nothing, so that it matches everything.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Whether it can match nothing.
    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// What it demands.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The labels that must have exactly one value, and that value.
    pub fn exact(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().filter_map(|r| match r.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => match &r.values[..] {
                [value] => Some((&*r.key, &**value)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether these labels match.
    pub fn matches(&self, labels: Option<&StringMap>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether labels match, whatever they are kept in.
    pub fn matches_with<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(&get))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let first = self.values.first().map(String::as_str).unwrap_or_default();
        match self.operator {
            Operator::Equals => write!(f, "{key}={first}"),
            Operator::DoubleEquals => write!(f, "{key}=={first}"),
            Operator::NotEquals => write!(f, "{key}!={first}"),
            Operator::In => write!(f, "{key} in ({})", self.values.join(",")),
            Operator::NotIn => write!(f, "{key} notin ({})", self.values.join(",")),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{first}"),
            Operator::LessThan => write!(f, "{key}<{first}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    End,
    Open,
    Close,
    Comma,
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Greater,
    Less,
    In,
    NotIn,
    Identifier,
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            const SYMBOLS: [(&str, Token); 9] = [
                ("==", Token::DoubleEquals),
                ("!=", Token::NotEquals),
                ("=", Token::Equals),
                ("!", Token::Not),
                ("(", Token::Open),
                (")", Token::Close),
                (",", Token::Comma),
                (">", Token::Greater),
                ("<", Token::Less),
            ];
            let length = match SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
                Some((symbol, token)) => {
                    tokens.push((*token, *symbol));
                    symbol.len()
                }
                None => {
                    let ends = |c: char| c.is_ascii_whitespace() || "=!(),><".contains(c);
                    let length = rest.find(ends).unwrap_or(rest.len());
                    let word = &rest[..length];
                    let token = match word {
                        "in" => Token::In,
                        "notin" => Token::NotIn,
                        _ => Token::Identifier,
                    };
                    tokens.push((token, word));
                    length
                }
            };
            rest = rest[length..].trim_start();
        }
        Self { tokens, at: 0 }
    }

    /// As a key or value: `in` and `notin` are words like any other.
    fn peek(&self) -> (Token, &'a str) {
        match self.peek_operator() {
            (Token::In | Token::NotIn, word) => (Token::Identifier, word),
            other => other,
        }
    }

    fn peek_operator(&self) -> (Token, &'a str) {
        self.tokens
            .get(self.at)
            .copied()
            .unwrap_or((Token::End, ""))
    }

    fn next(&mut self) -> (Token, &'a str) {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                    match self.next() {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => {
                            let (token, word) = self.peek();
                            if !matches!(token, Token::Identifier | Token::Not) {
                                return Err(format!(
                                    "found '{word}', expected: identifier after ','"
                                ));
                            }
                        }
                        (_, word) => {
                            return Err(format!(
                                "found '{word}', expected: ',' or 'end of string'"
                            ));
                        }
                    }
                }
                (Token::End, _) => return Ok(requirements),
                (_, word) => {
                    return Err(format!(
                        "found '{word}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        if let Some(message) = key_error(key) {
            return Err(FieldError::invalid(&Path::new(""), key, message).to_string());
        }
        let build = |operator, values| {
            Requirement::new(key, operator, values).map_err(|error| error.to_string())
        };
        if negated {
            return build(Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return build(Operator::Exists, Vec::new());
        }
        let (token, word) = self.peek_operator();
        self.at += 1;
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => {
                return Err(format!(
                    "found '{word}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        build(operator, values)
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (Token::Identifier, word) => Ok(word.to_owned()),
            (_, word) => Err(format!("found '{word}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            (Token::Open, _) => {}
            (_, word) => return Err(format!("found '{word}' expected: '('")),
        }
        match self.peek() {
            (Token::Identifier | Token::Comma, _) => {
                let values = self.identifiers()?;
                match self.next() {
                    (Token::Close, _) => Ok(values),
                    (_, word) => Err(format!("found '{word}', expected: ')'")),
                }
            }
            (Token::Close, _) => {
                // Nothing in the brackets is the empty value.
                self.at += 1;
                Ok(vec![String::new()])
            }
            (_, word) => Err(format!("found '{word}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.next() {
                (Token::Identifier, word) => {
                    values.push(word.to_owned());
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, word) => return Err(format!("found '{word}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek() {
                        (Token::Close, _) => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        (Token::Comma, _) => {
                            self.at += 1;
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                (_, word) => return Err(format!("found '{word}', expected: ',', or identifier")),
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

const KEY_SYNTAX: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_SYNTAX: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PREFIX_SYNTAX: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with a label's key.
fn key_error(key: &str) -> Option<String> {
    let mut errors = Vec::new();
    let mut parts = key.split('/');
    let (first, second, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if more.is_some() {
        return Some(format!(
            "a valid label key {KEY_SYNTAX} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
    }
    let name = match second {
        None => first,
        Some(name) => {
            if first.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let label = |part: &str| {
                    let bytes = part.as_bytes();
                    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                    bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
                        && bytes.first().is_some_and(alphanumeric)
                        && bytes.last().is_some_and(alphanumeric)
                };
                if first.len() > 253 {
                    errors.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !first.split('.').all(label) {
                    errors.push(format!("prefix part {PREFIX_SYNTAX}"));
                }
            }
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(name) {
        errors.push(format!("name part {KEY_SYNTAX}"));
    }
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// What is wrong with a label's value.
fn value_error(value: &str) -> Option<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_name(value) {
        errors.push(VALUE_SYNTAX.to_owned());
    }
    (!errors.is_empty()).then(|| errors.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_match_as_upstream() {
        let labels = json!({"a": "1", "b": "x"});
        let labels = labels.as_object();
        for (text, expected) in [
            ("", true),
            ("a=1,b==x", true),
            ("a!=1", false),
            ("c!=1", true),
            ("a in (1,2)", true),
            ("a notin (1,2)", false),
            ("c notin (1)", true),
            ("a,!c", true),
            ("a>0,a<2", true),
            ("a>1", false),
            ("b>1", false),
            ("in in (in)", false),
            ("a in (,1)", true),
            ("c=", false),
        ] {
            assert_eq!(
                Selector::parse(text).unwrap().matches(labels),
                expected,
                "{text}"
            );
        }
        assert!(!Selector::from_object(None).unwrap().matches(labels));
        let object = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "NotIn", "values": ["y"]}, {"key": "z", "operator": "DoesNotExist"}]});
        let selector = Selector::from_object(object.as_object()).unwrap();
        assert!(selector.matches(labels));
        assert_eq!(selector.to_string(), "a in (1),b notin (y),!z");
    }

    #[test]
    fn errors_are_those_of_upstream() {
        for (text, error) in [
            (
                ",",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            (
                "(n)",
                "found '(', expected: !, identifier, or 'end of string'",
            ),
            (
                "n=bad value",
                "found 'value', expected: ',' or 'end of string'",
            ),
            (
                "n in 1",
                "unable to parse requirement: found '1' expected: '('",
            ),
            (
                "n===1",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "n in (a b)",
                "unable to parse requirement: found 'b', expected: ',' or ')'",
            ),
            (
                "n gt 2",
                "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must \
                 be an integer",
            ),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err(), error, "{text}");
        }
        let error = Selector::parse("x/y/z").unwrap_err();
        assert!(error.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"x/y/z\": a valid label key must consist"
        ));
    }
}
