//! The kinds of `batch`, one file each.

pub mod cron_job;
pub mod job;
