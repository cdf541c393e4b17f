//! `/debug/api_priority_and_fairness/dump_{priority_levels,queues,requests}`: tables for people, in upstream's columns.

use std::fmt::Write as _;

use http::Method;

use super::{
    configuration::{Configuration, Configured},
    level::Details,
    queue_set::{Discipline, QueueSet, Request},
};
use crate::request_info::RequestInfo;

const LEVELS: &[&str] = &[
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUES: &[&str] = &[
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];
const REQUESTS: &[&str] = &[
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAILS: &[&str] = &[
    "UserName",
    "Verb",
    "APIPath",
    "Namespace",
    "Name",
    "APIVersion",
    "Resource",
    "SubResource",
];

/// What a request is taken to last, in seconds; see the queue set.
const ESTIMATE: f64 = 0.003;

/// The dump of this name, if there is one.
pub(super) fn dump(configuration: &Configuration, name: &str, details: bool) -> Option<String> {
    let levels = configuration.levels.values();
    Some(match name {
        "dump_priority_levels" => table(LEVELS, levels.map(level_row)),
        "dump_queues" => table(QUEUES, levels.flat_map(queue_rows)),
        "dump_requests" => {
            let mut columns = REQUESTS.to_vec();
            columns.extend(DETAILS.iter().filter(|_| details));
            table(
                &columns,
                levels.flat_map(|level| request_rows(level, details)),
            )
        }
        _ => return None,
    })
}

fn level_row(configured: &Configured) -> Vec<String> {
    use std::sync::atomic::Ordering::Relaxed;
    let level = &configured.level;
    let state = level.state();
    let set = &state.set;
    let active = set
        .queues()
        .iter()
        .filter(|queue| !queue.waiting.is_empty())
        .count();
    let idle = set.waiting() == 0 && set.executing() == 0;
    vec![
        level.name.to_string(),
        active.to_string(),
        idle.to_string(),
        // Levels that are gone are not shown: who still executes in them is let finish.
        false.to_string(),
        set.waiting().to_string(),
        set.executing().to_string(),
        level.dispatched.load(Relaxed).to_string(),
        level.refused.load(Relaxed).to_string(),
        level.timed_out.load(Relaxed).to_string(),
        level.cancelled.load(Relaxed).to_string(),
    ]
}

fn queue_rows(configured: &Configured) -> Vec<Vec<String>> {
    let level = &configured.level;
    let state = level.state();
    if !matches!(state.set.discipline(), Discipline::Queue { .. }) {
        let mut row = vec!["<none>".to_owned(); QUEUES.len()];
        row[0] = level.name.to_string();
        return vec![row];
    }
    let row = |(index, queue): (usize, &super::queue_set::Queue)| {
        vec![
            level.name.to_string(),
            index.to_string(),
            queue.waiting.len().to_string(),
            queue.executing.to_string(),
            queue.seats_in_use.to_string(),
            seat_seconds(queue.next_dispatch_r),
            queue.waiting_seats.to_string(),
            queue.waiting_seats.to_string(),
            seat_seconds(f64::from(queue.waiting_seats) * ESTIMATE),
        ]
    };
    state.set.queues().iter().enumerate().map(row).collect()
}

fn seat_seconds(value: f64) -> String {
    format!("{value:.8}ss")
}

fn request_rows(configured: &Configured, details: bool) -> Vec<Vec<String>> {
    let level = &configured.level;
    let state = level.state();
    let set = &state.set;
    let requests = set.requests();
    requests
        .into_iter()
        .map(|(ticket, request)| request_row(&level.name, set, ticket, request, details))
        .collect()
}

fn request_row(
    level: &str,
    set: &QueueSet<Details>,
    ticket: u64,
    request: &Request<Details>,
    with_details: bool,
) -> Vec<String> {
    let details = &request.tag;
    // One that executes stands in no queue.
    let place = |index: usize| {
        let waiting = &set.queues().get(index)?.waiting;
        waiting.iter().position(|waiting| *waiting == ticket)
    };
    let index = |index: Option<usize>| index.map_or_else(|| "-1".to_owned(), |i| i.to_string());
    let mut row = vec![
        level.to_owned(),
        details.stats.schema.to_string(),
        index(request.queue),
        index(request.queue.and_then(place)),
        details.distinguisher.to_string(),
        time(request.arrived),
        request.seats.to_string(),
        "0".to_owned(),
        "0s".to_owned(),
        request
            .started
            .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
    ];
    if with_details {
        row.extend(detail_cells(details));
    }
    row
}

fn detail_cells(details: &Details) -> Vec<String> {
    let info = details
        .path
        .parse()
        .map(|uri| RequestInfo::parse(&Method::GET, &uri))
        .unwrap_or_default();
    vec![
        details.user.to_string(),
        details.verb.to_string(),
        details.path.to_string(),
        info.namespace.clone(),
        info.name.clone(),
        info.group_version.to_string(),
        info.resource.clone(),
        info.subresource,
    ]
}

fn time(nanos: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// Cells end in commas and stand below each other, as Go's tabwriter sets them.
fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    const MIN_WIDTH: usize = 8;
    let header = columns.iter().map(|column| (*column).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count() + 2)
            .max()
            .unwrap_or(0)
            .max(MIN_WIDTH)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                out.push_str(cell);
            } else {
                let _ = write!(
                    out,
                    "{:<width$}",
                    format!("{cell},"),
                    width = widths[column]
                );
            }
        }
        out.push('\n');
    }
    out
}
