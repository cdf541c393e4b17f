//! Words that are no names.

/// What the grammar itself uses.
const USED: [&str; 4] = ["true", "false", "null", "in"];

/// What is kept for the future: it is read as a name, and refused as one.
pub(crate) const KEPT: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether nothing may be called so.
pub fn is_reserved(word: &str) -> bool {
    USED.contains(&word) || KEPT.contains(&word)
}
