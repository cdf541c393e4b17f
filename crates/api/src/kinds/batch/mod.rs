//! The kinds of `batch`, one file each.

pub mod cron;
pub mod cron_job;
pub mod job;
mod job_indexes;
mod job_spec;
mod job_status;
