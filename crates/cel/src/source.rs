//! The text of an expression, and errors that point into it.
//!
//! Errors print as those of cel-go: `ERROR: <input>:1:5: undefined field 'nope'`, the line, and a caret under the column. Users read
//! them in `Status` causes, so the picture is part of the API. Columns count code points; characters wider than a byte are
//! underlined with full-width marks, as upstream does.

use std::fmt;

/// Errors beyond these are dropped: hostile text could otherwise make as many as it has characters.
const MAX_ISSUES: usize = 100;

/// One complaint about an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// From 1; -1 if it concerns the expression as a whole.
    pub line: i32,
    /// From 0, in code points.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Why an expression does not compile: at least one issue, in order of position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors {
    source: String,
    issues: Vec<Issue>,
    /// Why a good expression cannot be made into a program.
    instantiation: Option<String>,
}

impl CompileErrors {
    /// What is wrong, in order of position.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// A good expression with a conversion of a constant that cannot be converted.
    pub(crate) fn instantiation(source: &str, message: String) -> Self {
        Self {
            source: source.to_owned(),
            issues: Vec::new(),
            instantiation: Some(message),
        }
    }

    /// Whether the expression is good in itself: then upstream takes the error for one of its own.
    pub fn is_instantiation(&self) -> bool {
        self.instantiation.is_some()
    }

    /// With what failed before it, of a `messageExpression`: upstream words that a little differently.
    pub fn describe_message(&self) -> String {
        let stage = match self.instantiation {
            None => "compilation",
            Some(_) => "instantiation",
        };
        format!("messageExpression {stage} failed: {self}")
    }

    /// With what failed before it: `compilation failed: …`, `program instantiation failed: …`.
    pub fn describe(&self) -> String {
        let stage = match self.instantiation {
            None => "compilation",
            Some(_) => "program instantiation",
        };
        format!("{stage} failed: {self}")
    }
}

impl std::error::Error for CompileErrors {}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.instantiation {
            return f.write_str(message);
        }
        for (at, issue) in self.issues.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            self.show(issue, f)?;
        }
        Ok(())
    }
}

impl CompileErrors {
    fn show(&self, issue: &Issue, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Issue {
            line,
            column,
            message,
        } = issue;
        // A position shows its column from 1; what has none shows 0, and an empty text has none.
        let nowhere = *line < 0 || self.source.is_empty();
        let shown = if nowhere { 0 } else { column + 1 };
        write!(f, "ERROR: <input>:{line}:{shown}: {message}")?;
        if nowhere {
            return Ok(());
        }
        let Some(text) = usize::try_from(line - 1)
            .ok()
            .and_then(|at| self.source.split('\n').nth(at))
        else {
            return Ok(());
        };
        write!(f, "\n | {}\n | ", text.replace('\t', " "))?;
        let mut rest = text.chars();
        for c in rest.by_ref().take(*column as usize) {
            f.write_str(if c.len_utf8() > 1 { "．" } else { "." })?;
        }
        f.write_str(if rest.next().is_some_and(|c| c.len_utf8() > 1) {
            "＾"
        } else {
            "^"
        })
    }
}

/// Gathers issues against one text.
#[derive(Debug)]
pub(crate) struct Issues<'s> {
    source: &'s str,
    issues: Vec<Issue>,
}

impl<'s> Issues<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self {
            source,
            issues: Vec::new(),
        }
    }

    /// At a byte of the text.
    pub(crate) fn report(&mut self, offset: u32, message: impl Into<String>) {
        let before = &self.source[..(offset as usize).min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        self.push(Issue {
            line: i32::try_from(line).unwrap_or(i32::MAX),
            column: u32::try_from(before[line_start..].chars().count()).unwrap_or(u32::MAX),
            message: message.into(),
        });
    }

    /// Of the expression as a whole.
    pub(crate) fn report_all(&mut self, message: impl Into<String>) {
        self.push(Issue {
            line: -1,
            column: 0,
            message: message.into(),
        });
    }

    fn push(&mut self, issue: Issue) {
        if !self.is_full() {
            self.issues.push(issue);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.issues.len() >= MAX_ISSUES
    }

    /// The issues as an error, or nothing if there are none.
    pub(crate) fn finish(mut self) -> Result<(), CompileErrors> {
        if self.issues.is_empty() {
            return Ok(());
        }
        // Stable: what was said first about a place stays first.
        self.issues.sort_by_key(|issue| (issue.line, issue.column));
        self.issues.dedup();
        Err(CompileErrors {
            source: self.source.to_owned(),
            issues: self.issues,
            instantiation: None,
        })
    }
}
