//! How many seats a request takes: one, but for lists (and watches that begin with one), which take a seat for each 100 kB they hold at once.
//!
//! Upstream's estimate by object size (`SizeBasedListCostEstimate`). A list from the cache is streamed and counts for 1 MB at most; here all
//! but lists of old revisions come from the cache. Writes take one seat: upstream adds more for the watchers of what is written, but here an event is
//! encoded once and delivered by cursors.

use crate::context::Context;

const BYTES_PER_SEAT: u64 = 100_000;
const STREAMED_BYTES: u64 = 1_000_000;
/// No list takes more, whatever its level allows.
const MAX_SEATS: u32 = 100;

/// How many objects a resource has, and how large they are on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectStats {
    /// How many.
    pub count: u64,
    /// In JSON.
    pub average_bytes: u64,
}

/// The seats of a request; `stats` is asked for lists alone, and knows the resource.
pub(super) fn seats(
    context: &Context,
    level_max: u32,
    stats: impl FnOnce() -> Option<ObjectStats>,
) -> u32 {
    let (info, query) = (&context.info, &context.query);
    let lists = match info.verb.as_str() {
        "list" => true,
        "watch" => query.flag("sendInitialEvents"),
        _ => false,
    };
    if !info.is_resource || !lists {
        return 1;
    }
    let Some(stats) = stats() else {
        return 1;
    };
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok());
    let limit = number("limit").filter(|limit| *limit > 0);
    let limited = stats.count.min(limit.unwrap_or(u64::MAX));
    let objects = if info.name.is_empty() { limited } else { 1 };
    let mut bytes = objects.saturating_mul(stats.average_bytes);
    let from_store = info.verb == "list" && query.get("resourceVersionMatch") == Some("Exact");
    if !from_store {
        bytes = bytes.min(STREAMED_BYTES);
    }
    let seats = bytes.div_ceil(BYTES_PER_SEAT);
    let max = u64::from(level_max.clamp(1, MAX_SEATS));
    u32::try_from(seats.clamp(1, max)).unwrap_or(MAX_SEATS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::Peer;

    fn estimate(uri: &str, count: u64, average_bytes: u64) -> u32 {
        let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        let mut context = Context::new(&parts, Peer::default());
        context.info = crate::request_info::RequestInfo::parse(&parts.method, &parts.uri);
        seats(&context, 36, || {
            Some(ObjectStats {
                count,
                average_bytes,
            })
        })
    }

    #[test]
    fn lists_take_seats_by_their_size() {
        for (uri, count, average, expected) in [
            ("/api/v1/pods", 10, 1000, 1),
            ("/api/v1/pods", 0, 0, 1),
            ("/api/v1/pods", 500, 1000, 5),
            ("/api/v1/pods", 100_000, 5000, 10),
            ("/api/v1/pods?limit=50", 100_000, 5000, 3),
            (
                "/api/v1/pods?fieldSelector=metadata.name%3Da",
                100_000,
                5000,
                1,
            ),
            (
                "/api/v1/pods?resourceVersion=5&resourceVersionMatch=Exact",
                100_000,
                5000,
                36,
            ),
            ("/api/v1/pods?watch=1", 100_000, 5000, 1),
            (
                "/api/v1/pods?watch=1&sendInitialEvents=true",
                100_000,
                5000,
                10,
            ),
            ("/api/v1/namespaces/a/pods/b", 100_000, 5000, 1),
            ("/apis", 100_000, 5000, 1),
        ] {
            assert_eq!(estimate(uri, count, average), expected, "{uri}");
        }
    }
}
