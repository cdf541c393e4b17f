//! How lists and maps of this group are judged: one that is too long is not looked into, and what stands twice in a set is told after all
//! that is wrong with its items.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

/// Judges each item of a list of at most `max`. Whether it was short enough to be looked into.
pub(super) fn slice(
    errors: &mut ErrorList,
    path: &Path,
    list: &[Value],
    max: usize,
    mut item: impl FnMut(&mut ErrorList, &Path, &Value),
) -> bool {
    if list.len() > max {
        errors.push(FieldError::too_many(path, list.len(), max));
        return false;
    }
    for (index, value) in list.iter().enumerate() {
        item(errors, &path.index(index), value);
    }
    true
}

/// Like [`slice`], for lists of objects.
pub(super) fn objects(
    errors: &mut ErrorList,
    path: &Path,
    list: &[Value],
    max: usize,
    mut item: impl FnMut(&mut ErrorList, &Path, &Object),
) -> bool {
    slice(errors, path, list, max, |errors, path, value| {
        if let Some(object) = value.as_object() {
            item(errors, path, object);
        }
    })
}

/// Like [`objects`], for sets: no two have the same key.
pub(super) fn object_set(
    errors: &mut ErrorList,
    path: &Path,
    list: &[Value],
    max: usize,
    item: impl FnMut(&mut ErrorList, &Path, &Object),
    key: &str,
) {
    if objects(errors, path, list, max, item) {
        let keys = list
            .iter()
            .map(|value| value[key].as_str().unwrap_or_default());
        unique(errors, path, keys);
    }
}

/// Like [`slice`], for sets of texts.
pub(super) fn text_set(
    errors: &mut ErrorList,
    path: &Path,
    list: &[Value],
    max: usize,
    mut item: impl FnMut(&mut ErrorList, &Path, &str),
) {
    let judge = |errors: &mut ErrorList, path: &Path, value: &Value| {
        item(errors, path, value.as_str().unwrap_or_default());
    };
    if slice(errors, path, list, max, judge) {
        unique(
            errors,
            path,
            list.iter().map(|v| v.as_str().unwrap_or_default()),
        );
    }
}

/// Complains about each key that stood before.
pub(super) fn unique<'a>(errors: &mut ErrorList, path: &Path, keys: impl Iterator<Item = &'a str>) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, key) in keys.enumerate() {
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(&path.index(index), key));
        }
    }
}

/// Judges the keys of a map, at its own path, and its values, at theirs, in which a long key is shortened.
pub(super) fn map(
    errors: &mut ErrorList,
    path: &Path,
    map: Option<&Object>,
    max_shown: usize,
    mut key_rule: impl FnMut(&mut ErrorList, &Path, &str),
    mut item: impl FnMut(&mut ErrorList, &Path, &Value),
) {
    for (key, value) in map.into_iter().flatten() {
        key_rule(errors, path, key);
        item(errors, &path.key(&shortened(key, max_shown)), value);
    }
}

/// The middle of a text that is too long is left out.
fn shortened(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() <= max {
        return text.to_owned();
    }
    let left = max - ELLIPSIS.len();
    let (mut head, mut tail) = (left.div_ceil(2), text.len() - left / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}{ELLIPSIS}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_twice_is_told_last() {
        let list = json!(["a", "b", "a"]);
        let mut errors = Vec::new();
        let item = |errors: &mut ErrorList, path: &Path, value: &str| {
            if value == "b" {
                errors.push(FieldError::required(path, ""));
            }
        };
        text_set(
            &mut errors,
            &Path::new("x"),
            list.as_array().unwrap(),
            3,
            item,
        );
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["x[1]: Required value", "x[2]: Duplicate value: \"a\""]
        );
        errors.clear();
        text_set(
            &mut errors,
            &Path::new("x"),
            list.as_array().unwrap(),
            2,
            item,
        );
        assert_eq!(
            errors[0].to_string(),
            "x: Too many: 3: must have at most 2 items"
        );
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn long_keys_are_shortened() {
        assert_eq!(shortened(&"abcdefghij".repeat(2), 16), "abcdefg...efghij");
        assert_eq!(shortened("short", 16), "short");
    }
}
