//! All containers of a pod, whichever list they stand in.

use apimachinery::{Object, lookup};
use serde_json::Value;

/// The lists, in the order in which upstream walks them.
pub(super) const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Each container, with its list and its place there.
pub(super) fn all(pod: &Object) -> impl Iterator<Item = (&'static str, usize, &Object)> {
    LISTS.into_iter().flat_map(move |list| {
        lookup::objects(pod, &["spec", list])
            .enumerate()
            .map(move |(index, container)| (list, index, container))
    })
}

/// The images of all containers.
pub(super) fn images(pod: &Object) -> impl Iterator<Item = &str> {
    all(pod).map(|(_, _, container)| lookup::text(container, &["image"]))
}

/// Does something to each container.
pub(super) fn each_mut(pod: &mut Object, mut act: impl FnMut(&mut Object)) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for list in LISTS {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
            .for_each(&mut act);
    }
}
