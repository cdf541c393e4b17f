//! `/`: the paths there are.

use apimachinery::Object;
use serde_json::json;

/// The document of all these paths, sorted, each once.
pub fn root_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Object {
    let mut paths: Vec<&str> = paths.into_iter().collect();
    paths.sort_unstable();
    paths.dedup();
    let mut document = Object::new();
    document.insert("paths".to_owned(), json!(paths));
    document
}
