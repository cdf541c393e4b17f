//! JSON whose members keep their order, printed as Go's encoder prints it.

use serde_json::Value;

/// A piece of it.
#[derive(Debug)]
pub(super) enum Node {
    /// A scalar or `null`.
    Leaf(Value),
    /// A list.
    List(Vec<Node>),
    /// Members, in order.
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn null() -> Self {
        Self::Leaf(Value::Null)
    }

    /// On one line, without spaces.
    pub(super) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// With one space for each level.
    pub(super) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out
    }

    fn write(&self, out: &mut String, depth: Option<usize>) {
        let inner = depth.map(|d| d + 1);
        match self {
            Self::Leaf(value) => out.push_str(&apimachinery::go::json(value)),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::Map(members) if members.is_empty() => out.push_str("{}"),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(out, index, inner);
                    item.write(out, inner);
                }
                new_line(out, depth);
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(out, index, inner);
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write(out, inner);
                }
                new_line(out, depth);
                out.push('}');
            }
        }
    }
}

fn separate(out: &mut String, index: usize, depth: Option<usize>) {
    if index > 0 {
        out.push(',');
    }
    new_line(out, depth);
}

fn new_line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    }
}
