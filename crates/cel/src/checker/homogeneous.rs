//! Literals of lists and maps have items of one type, but for those that are formatted. The checker takes what they mix for `dyn`; only a
//! tree that is otherwise well typed is looked at.

use super::Checked;
use crate::{
    ast::{Element, Entry, Expr, Id},
    source::Issues,
    types::Type,
};

/// Checks the literals of an expression.
pub(crate) fn check_homogeneous(checked: &Checked, issues: &mut Issues<'_>) {
    visit(checked, checked.root, issues);
}

fn visit(checked: &Checked, id: Id, issues: &mut Issues<'_>) {
    let node = checked.ast.node(id);
    match node {
        // What is formatted may be of any kinds.
        Expr::Call { function, .. } if &**function == "format" => return,
        Expr::List(elements) => list(checked, elements, issues),
        Expr::Map(entries) => map(checked, entries, issues),
        _ => {}
    }
    node.children(&mut |child| visit(checked, child, issues));
}

fn list(checked: &Checked, elements: &[Element], issues: &mut Issues<'_>) {
    let mut types = elements.iter().map(|element| {
        (
            element.value,
            item(checked, element.value, element.optional),
        )
    });
    if let Some((_, first)) = types.next()
        && let Some((id, other)) = types.find(|(_, ty)| ty != &first)
    {
        mismatch(checked, id, first, other, issues);
    }
}

fn map(checked: &Checked, entries: &[Entry], issues: &mut Issues<'_>) {
    let Some((first, others)) = entries.split_first() else {
        return;
    };
    let key = checked.type_of(first.key);
    let value = item(checked, first.value, first.optional);
    for entry in others {
        let other = checked.type_of(entry.key);
        if other != key {
            mismatch(checked, entry.key, key, other, issues);
        }
        let other = item(checked, entry.value, entry.optional);
        if other != value {
            mismatch(checked, entry.value, value, other, issues);
        }
    }
}

fn item(checked: &Checked, id: Id, optional: bool) -> &Type {
    match checked.type_of(id) {
        Type::Optional(of) if optional => of,
        ty => ty,
    }
}

fn mismatch(checked: &Checked, id: Id, expected: &Type, found: &Type, issues: &mut Issues<'_>) {
    issues.report(
        checked.ast.offset(id),
        format!("expected type '{expected}' but found '{found}'"),
    );
}
