//! kubectl's JSONPath, as printer columns use it: one expression, `.spec.list[?(@.name=="x")].value`.
//!
//! A path is parsed once into steps and evaluated without copying. Follows `client-go/util/jsonpath` with missing keys allowed: a missing
//! field yields nothing, an index out of bounds or a comparison of unlike things is an error. Recursion is bounded by the depth of the
//! value, which is bounded where it was decoded.

use std::cmp::Ordering;

use apimachinery::Object;
use serde_json::Value;

/// A path that cannot be parsed or followed; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError(String);

impl std::fmt::Display for PathError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PathError {}

fn fail<T>(message: impl Into<String>) -> Result<T, PathError> {
    Err(PathError(message.into()))
}

/// A parsed expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.name`, `['name']`.
    Field(Box<str>),
    /// `.*`.
    Wildcard,
    /// `..`.
    Recursive,
    /// `[0]`, `[1:3]`, `[::2]`, `[*]`.
    Slice(Slice),
    /// `[0,2]`, `['a','b']`.
    Union(Vec<JsonPath>),
    /// `[?(@.a)]`, `[?(@.a == "b")]`.
    Filter(JsonPath, Option<(Comparison, JsonPath)>),
    /// A literal, on the right of a comparison.
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    /// The end was not written: it is the item after the start.
    derived: bool,
    step: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Parses an expression, without braces around it.
    ///
    /// # Errors
    /// What upstream's parser refuses.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut parser = Parser {
            rest: text,
            steps: Vec::new(),
        };
        parser.run()?;
        Ok(Self {
            steps: parser.steps,
        })
    }

    /// All values that the path leads to.
    ///
    /// # Errors
    /// An index that is out of bounds, a filter of something that is no list, a comparison of unlike things.
    pub fn find<'v>(&'v self, root: &'v Value) -> Result<Vec<&'v Value>, PathError> {
        self.eval(vec![root])
    }

    /// The same of a whole object.
    ///
    /// # Errors
    /// As [`JsonPath::find`].
    pub fn find_in<'v>(&'v self, object: &'v Object) -> Result<Vec<&'v Value>, PathError> {
        let Some((first, rest)) = self.steps.split_first() else {
            return Ok(Vec::new());
        };
        let mut input: Vec<&Value> = match first {
            Step::Field(name) => object.get(&**name).into_iter().collect(),
            Step::Wildcard => object.values().collect(),
            Step::Recursive => {
                let mut out = Vec::new();
                object.values().for_each(|value| descend(value, &mut out));
                out
            }
            Step::Literal(value) => vec![value],
            _ => return fail("the object is not array or slice"),
        };
        for step in rest {
            input = step.eval(&input)?;
        }
        Ok(input)
    }

    fn eval<'v>(&'v self, mut input: Vec<&'v Value>) -> Result<Vec<&'v Value>, PathError> {
        for step in &self.steps {
            input = step.eval(&input)?;
        }
        Ok(input)
    }
}

impl Step {
    fn eval<'v>(&'v self, input: &[&'v Value]) -> Result<Vec<&'v Value>, PathError> {
        let mut out = Vec::new();
        match self {
            Self::Literal(value) => out.push(value),
            Self::Field(name) => {
                out.extend(input.iter().filter_map(|value| value.get(&**name)));
            }
            Self::Wildcard => input.iter().for_each(|value| out.extend(children(value))),
            Self::Recursive => input.iter().for_each(|value| descend(value, &mut out)),
            Self::Union(paths) => {
                for path in paths {
                    out.extend(path.eval(input.to_vec())?);
                }
            }
            Self::Slice(slice) => {
                for value in input.iter().filter(|v| !v.is_null()) {
                    let Some(items) = value.as_array() else {
                        return fail(format!("{value} is not array or slice"));
                    };
                    slice.eval(items, &mut out)?;
                }
            }
            Self::Filter(left, condition) => {
                for value in input {
                    let Some(items) = value.as_array() else {
                        return fail(format!(
                            "{value} is not array or slice and cannot be filtered"
                        ));
                    };
                    for item in items {
                        if passes(item, left, condition.as_ref())? {
                            out.push(item);
                        }
                    }
                }
            }
        }
        Ok(out)
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// A value with children, and all such below it.
fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    let below = children(value);
    if !below.is_empty() {
        out.push(value);
        below.into_iter().for_each(|child| descend(child, out));
    }
}

impl Slice {
    fn eval<'v>(self, items: &'v [Value], out: &mut Vec<&'v Value>) -> Result<(), PathError> {
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let mut start = self.start.unwrap_or(0);
        let mut end = self.end.unwrap_or(length);
        if start < 0 {
            start += length;
        }
        if end < 0 || (end == 0 && self.derived) {
            end += length;
        }
        if start == end {
            return Ok(());
        }
        if start >= length || start < 0 {
            return fail(format!(
                "array index out of bounds: index {start}, length {length}"
            ));
        }
        if end > length || end < 0 {
            return fail(format!(
                "array index out of bounds: index {}, length {length}",
                end - 1
            ));
        }
        if start > end {
            return fail(format!(
                "starting index {start} is greater than ending index {end}"
            ));
        }
        let step = self.step.unwrap_or(1);
        if step <= 0 {
            return fail("step must be > 0");
        }
        let index = |i: i64| usize::try_from(i).unwrap_or_default();
        out.extend(items[index(start)..index(end)].iter().step_by(index(step)));
        Ok(())
    }
}

fn passes(
    item: &Value,
    left: &JsonPath,
    condition: Option<&(Comparison, JsonPath)>,
) -> Result<bool, PathError> {
    let lefts = left.eval(vec![item]);
    let Some((comparison, right)) = condition else {
        return Ok(lefts.is_ok_and(|found| !found.is_empty()));
    };
    let (lefts, rights) = (lefts?, right.eval(vec![item])?);
    if lefts.len() > 1 || rights.len() > 1 {
        return fail("can only compare one element at a time");
    }
    match (lefts.first(), rights.first()) {
        (Some(left), Some(right)) => compare(left, *comparison, right),
        _ => Ok(false),
    }
}

/// As Go's templates compare: only like with like.
fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, PathError> {
    let ordering = match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            (None, None) => a.as_f64().partial_cmp(&b.as_f64()),
            _ => return fail("incompatible types for comparison"),
        },
        (Value::Bool(a), Value::Bool(b)) => match comparison {
            Comparison::Equal | Comparison::NotEqual => Some(a.cmp(b)),
            _ => return fail("invalid type for comparison"),
        },
        _ => return fail("incompatible types for comparison"),
    };
    Ok(match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Comparison::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    })
}

struct Parser<'t> {
    rest: &'t str,
    steps: Vec<Step>,
}

/// What ends a field's name.
fn is_terminator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), PathError> {
        while let Some(c) = self.rest.chars().next() {
            let after = &self.rest[c.len_utf8()..];
            match c {
                '[' if self.rest.starts_with("[?(") => self.filter()?,
                '.' if after.starts_with('.') => {
                    if after[1..].starts_with('.') {
                        return fail("invalid multiple recursive descent");
                    }
                    self.steps.push(Step::Recursive);
                    // The second dot opens a field, unless something else follows.
                    let next = after[1..].chars().next();
                    self.rest = match next {
                        Some(c) if !is_terminator(c) => after,
                        _ => &after[1..],
                    };
                }
                ' ' | '@' | '$' => self.rest = after,
                '[' => self.array()?,
                '"' | '\'' => self.quoted(c)?,
                '.' => self.field(),
                '+' | '-' | '0'..='9' => self.number()?,
                '\n' | '\r' | '{' | '}' => return fail("unclosed action"),
                c if c.is_alphanumeric() || c == '_' => self.identifier()?,
                c => return fail(format!("unrecognized character in action: {c:?}")),
            }
        }
        Ok(())
    }

    fn field(&mut self) {
        let mut name = String::new();
        let mut characters = self.rest[1..].char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => name.extend(characters.next().map(|(_, c)| c)),
                c if is_terminator(c) => {
                    end = at + 1;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        self.steps.push(match &*name {
            "*" => Step::Wildcard,
            name => Step::Field(name.into()),
        });
    }

    fn array(&mut self) -> Result<(), PathError> {
        let Some(end) = self.rest.find([']', '\n']) else {
            return fail("unterminated array");
        };
        if self.rest[end..].starts_with('\n') {
            return fail("unterminated array");
        }
        let text = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        if text.contains(',') {
            let paths = text
                .split(',')
                .map(|part| JsonPath::parse(&format!("[{}]", part.trim_matches(' '))));
            self.steps
                .push(Step::Union(paths.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let key = text
            .strip_prefix('\'')
            .and_then(|t| t.strip_suffix('\''))
            .filter(|t| !t.contains('\''));
        if let Some(key) = key {
            let inner = JsonPath::parse(&format!(".{key}"))?;
            self.steps.extend(inner.steps);
            return Ok(());
        }
        let slice = match text {
            "*" => slice_of(":"),
            text => slice_of(text),
        };
        match slice {
            Some(slice) => {
                self.steps.push(Step::Slice(slice));
                Ok(())
            }
            None => fail(format!("invalid array index {text}")),
        }
    }

    fn filter(&mut self) -> Result<(), PathError> {
        let body = &self.rest[3..];
        let mut quote = None;
        let mut depth = 1;
        let mut end = None;
        for (at, c) in body.char_indices() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth -= 1;
                    if depth == 0 {
                        end = Some(at);
                        break;
                    }
                }
                (None, _) => {}
            }
        }
        let Some(end) = end.filter(|end| body[*end..].starts_with(")]")) else {
            return fail("unterminated filter");
        };
        let text = &body[..end];
        self.rest = &body[end + 2..];
        let operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let split = text.find(operator).filter(|at| *at > 0).and_then(|at| {
            let length = text[at..].find(|c| !operator(c))?;
            Some((at, at + length))
        });
        let Some((start, end)) = split else {
            let left = JsonPath::parse(text)?;
            self.steps.push(Step::Filter(left, None));
            return Ok(());
        };
        let comparison = match &text[start..end] {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            other => return fail(format!("unrecognized filter operator {other}")),
        };
        let left = JsonPath::parse(&text[..start])?;
        let right = JsonPath::parse(&text[end..])?;
        self.steps
            .push(Step::Filter(left, Some((comparison, right))));
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), PathError> {
        let body = &self.rest[1..];
        let mut out = String::new();
        let mut characters = body.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => match characters.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, c)) => out.push(c),
                    None => break,
                },
                c if c == quote => {
                    self.rest = &body[at + 1..];
                    self.steps.push(Step::Literal(out.into()));
                    return Ok(());
                }
                c => out.push(c),
            }
        }
        fail("unterminated quoted string")
    }

    fn number(&mut self) -> Result<(), PathError> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | '.'))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let number = match text.parse::<i64>() {
            Ok(integer) => Value::from(integer),
            Err(_) => match text.parse::<f64>() {
                Ok(float) => Value::from(float),
                Err(_) => return fail(format!("cannot parse number {text}")),
            },
        };
        self.rest = &self.rest[end..];
        self.steps.push(Step::Literal(number));
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), PathError> {
        let end = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let value = match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => return fail(format!("unrecognized identifier {other}")),
        };
        self.rest = &self.rest[end..];
        self.steps.push(Step::Literal(value));
        Ok(())
    }
}

/// `1`, `1:3`, `:`, `-1:`, `::2`.
fn slice_of(text: &str) -> Option<Slice> {
    let mut parts = text.split(':');
    let number = |part: Option<&str>| -> Option<Option<i64>> {
        match part {
            None | Some("") => Some(None),
            Some(part) if part.starts_with('+') => None,
            Some(part) => part.parse().ok().map(Some),
        }
    };
    let start = number(parts.next())?;
    let end = parts.next();
    let derived = end.is_none();
    let end = number(end)?;
    let step = number(parts.next())?;
    if parts.next().is_some() {
        return None;
    }
    Some(Slice {
        start,
        end: if derived {
            Some(start.unwrap_or(0) + 1)
        } else {
            end
        },
        derived,
        step,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions() {
        let value = json!({
            "spec": {"a": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}, {"n": "z"}], "a.b": true},
            "metadata": {"labels": {"k8s.io/name": "q"}}});
        for (path, expected) in [
            (".spec.a", json!([1])),
            ("$.spec.a", json!([1])),
            (".spec.list[*].n", json!(["x", "y", "z"])),
            (".spec.list[0].n", json!(["x"])),
            (".spec.list[-1].n", json!(["z"])),
            (".spec.list[0:2].v", json!([1, 2])),
            (".spec.list[::2].n", json!(["x", "z"])),
            (".spec.list[0,2].n", json!(["x", "z"])),
            (".spec.list[?(@.n==\"y\")].v", json!([2])),
            (".spec.list[?(@.v>1)].n", json!(["y"])),
            (".spec.list[?(@.n!='y')].n", json!(["x", "z"])),
            (".spec.list[?(@.v)].n", json!(["x", "y"])),
            (".spec['a\\.b']", json!([true])),
            (".metadata.labels.k8s\\.io/name", json!(["q"])),
            (".missing.field", json!([])),
            (".spec.a.deeper", json!([])),
            ("..n", json!(["x", "y", "z"])),
            (".metadata.*", json!([{"k8s.io/name": "q"}])),
        ] {
            let parsed = JsonPath::parse(path).unwrap();
            assert_eq!(json!(parsed.find(&value).unwrap()), expected, "{path}");
        }
        for path in [".spec.list[7]", ".spec.a[0]", ".spec.list[?(@.n>1)]"] {
            assert!(
                JsonPath::parse(path).unwrap().find(&value).is_err(),
                "{path}"
            );
        }
        for path in [
            "spec.a",
            ".a[",
            ".a[x]",
            ".a[?(@.b~1)]x(",
            "...a",
            ".a}",
            ".a[?(@.b=1)]",
            "\"a",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
