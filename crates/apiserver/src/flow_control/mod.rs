//! API priority and fairness: which requests execute, which wait, and which are refused (KEP-1040).
//!
//! A request is matched against the FlowSchemas in order of precedence; the schema names a priority level, and tells flows within it apart. The level
//! gives it seats at once, lets it wait in a fair queue, or refuses it. Long-running requests take no seats; a watch holds its seats until it stands.
//!
//! | file | is |
//! |---|---|
//! | `queue_set.rs` | the decision: fair queues in virtual time; pure |
//! | `shuffle_sharding.rs` | which queues a flow may use; pure |
//! | `borrowing.rs`, `demand.rs` | how seats are divided among levels; pure |
//! | `flow_schema.rs`, `configuration.rs` | what the objects say |
//! | `work_estimator.rs` | how many seats a request takes |
//! | `level.rs` | a level at work: lock, waiters, seats |
//! | `controller.rs` | follows the objects, writes their conditions, moves seats between levels |
//! | `debug.rs`, `stats.rs`, `metrics.rs` | what can be seen of it |
//! | `max_in_flight.rs` | the plain limits that hold with `--enable-priority-and-fairness=false` |
//!
//! The way of a request that finds seats is a load of the configuration, the match, one short lock, and a handful of atomic adds.

mod borrowing;
mod configuration;
mod controller;
mod debug;
mod demand;
mod flow_schema;
mod level;
mod max_in_flight;
mod metrics;
mod queue_set;
mod shuffle_sharding;
mod stats;
mod work_estimator;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use apimachinery::gvk::GroupResource;
use arc_swap::ArcSwap;
use base::{Clock, metrics::Registry as MetricsRegistry};

use crate::{context::Context, reader::ObjectReader};
use configuration::Configuration;
use flow_schema::FlowSchema;
use level::{Applicant, Details, Seat};
use max_in_flight::{LaneSeat, MaxInFlight};
use stats::Histograms;

pub use controller::Controller;
pub use work_estimator::ObjectStats;

pub(crate) const FLOW_SCHEMAS: GroupResource =
    GroupResource::new("flowcontrol.apiserver.k8s.io", "flowschemas");
pub(crate) const PRIORITY_LEVELS: GroupResource = GroupResource::new(
    "flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations",
);

/// Asked how large a resource is.
pub type ObjectStatsOf = dyn Fn(&GroupResource) -> Option<ObjectStats> + Send + Sync;

/// What flow control stands on.
pub struct Dependencies {
    /// Where the configuration is.
    pub reader: Arc<dyn ObjectReader>,
    /// How large resources are.
    pub object_stats: Box<ObjectStatsOf>,
    /// The time.
    pub clock: Clock,
    /// Where its metrics go.
    pub metrics: MetricsRegistry,
}

/// Its settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--enable-priority-and-fairness`
    pub enabled: bool,
    /// `--max-requests-inflight`
    pub max_in_flight: usize,
    /// `--max-mutating-requests-inflight`; with priority and fairness the two are added.
    pub max_mutating_in_flight: usize,
    /// How long a request may wait for seats: a quarter of `--request-timeout`.
    pub patience: Duration,
}

/// Priority and fairness, or the plain limits where it is off.
pub struct FlowControl {
    deps: Dependencies,
    settings: Settings,
    histograms: Histograms,
    current: Arc<ArcSwap<Configuration>>,
    /// Held while a new configuration is made of the old one.
    reloading: Mutex<()>,
    max_in_flight: Option<MaxInFlight>,
}

impl std::fmt::Debug for FlowControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowControl").finish_non_exhaustive()
    }
}

/// Leave to execute; given back when dropped.
#[derive(Debug, Default)]
pub(crate) enum Leave {
    /// None is needed.
    #[default]
    Free,
    /// Seats of a level.
    Seat(#[expect(dead_code, reason = "held for its drop")] Seat),
    /// A place under the plain limits.
    Lane(#[expect(dead_code, reason = "held for its drop")] LaneSeat),
}

/// A request is refused; the client may come again after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) retry_after_seconds: u32,
}

impl FlowControl {
    /// With what the cache holds now, which may be nothing yet: then the mandatory objects stand in.
    pub fn new(settings: Settings, deps: Dependencies) -> Self {
        let histograms = Histograms::new(&deps.metrics);
        let total = settings.max_in_flight + settings.max_mutating_in_flight;
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let configuration = Configuration::new(total, &[], &[], None, &histograms, &deps.clock);
        let max_in_flight = (!settings.enabled)
            .then(|| MaxInFlight::new(settings.max_in_flight, settings.max_mutating_in_flight));
        let current = Arc::new(ArcSwap::from_pointee(configuration));
        if settings.enabled {
            metrics::serve(&deps.metrics, &current);
        }
        Self {
            deps,
            settings,
            histograms,
            current,
            reloading: Mutex::default(),
            max_in_flight,
        }
    }

    /// Lets a request execute, after it has waited if it must. Notes in the context under which flow control it runs.
    ///
    /// Dropping the future takes the request out of its queue.
    pub(crate) async fn enter(&self, context: &mut Context) -> Result<Leave, Refused> {
        let watch = context.info.verb == "watch";
        if context.info.is_long_running() && !watch {
            return Ok(Leave::Free);
        }
        if let Some(max_in_flight) = &self.max_in_flight {
            return max_in_flight.enter(context).map(Leave::Lane);
        }
        let schema = self.classify(context);
        context.flow = Some(schema.ids.clone());
        let level = &schema.level;
        let applicant = self.applicant(context, &schema, watch);
        match level.enter(applicant, self.settings.patience).await {
            Ok(seat) => {
                context.waited = seat.waited();
                Ok(Leave::Seat(seat))
            }
            Err(reason) => {
                tracing::debug!(level = %level.name, reason = reason.as_str(), "a request is refused");
                Err(Refused {
                    retry_after_seconds: level.retry_after(),
                })
            }
        }
    }

    fn classify(&self, context: &Context) -> Arc<FlowSchema> {
        let configuration = self.current.load();
        Arc::clone(configuration.schema_of(&context.user, &context.info))
    }

    fn applicant(&self, context: &Context, schema: &FlowSchema, watch: bool) -> Applicant {
        let (user, info) = (&context.user, &context.info);
        let distinguisher = schema.distinguisher(user, info);
        let widest = schema
            .level
            .max_seats
            .load(std::sync::atomic::Ordering::Relaxed);
        Applicant {
            flow: shuffle_sharding::flow_hash(&schema.stats.schema, distinguisher),
            seats: work_estimator::seats(context, widest, || {
                (self.deps.object_stats)(&info.gvr().group_resource())
            }),
            watch,
            details: Details {
                stats: Arc::clone(&schema.stats),
                distinguisher: distinguisher.into(),
                user: user.name.as_str().into(),
                verb: info.verb.as_str().into(),
                path: info.path.as_str().into(),
            },
        }
    }

    /// Takes over the objects as the cache has them now.
    pub fn reload(&self) {
        let _only_one = self
            .reloading
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let old = self.current.load_full();
        let reader = &self.deps.reader;
        let new = Configuration::new(
            old.total_seats,
            &reader.list(&FLOW_SCHEMAS, ""),
            &reader.list(&PRIORITY_LEVELS, ""),
            Some(&old),
            &self.histograms,
            &self.deps.clock,
        );
        self.current.store(Arc::new(new));
    }

    /// Moves seats between levels, by what they asked for since the last time.
    pub fn adjust(&self) {
        self.current.load().adjust();
    }

    /// `/debug/api_priority_and_fairness/…`: the dump of that name.
    pub fn dump(&self, name: &str, with_details: bool) -> Option<String> {
        if self.max_in_flight.is_some() {
            return None;
        }
        debug::dump(&self.current.load(), name, with_details)
    }
}

#[cfg(test)]
mod tests;
