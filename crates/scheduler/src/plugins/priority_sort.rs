//! PrioritySort: the higher priority first, then who came first.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::{
    framework::{Plugin, QueueSort},
    pod_info::PodInfo,
};

pub(super) struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
    fn queue_sort(&self) -> Option<&dyn QueueSort> {
        Some(self)
    }
}

impl QueueSort for PrioritySort {
    fn compare(&self, a: (&PodInfo, Timestamp), b: (&PodInfo, Timestamp)) -> Ordering {
        b.0.priority.cmp(&a.0.priority).then(a.1.cmp(&b.1))
    }
}
