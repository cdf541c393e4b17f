//! FlowSchemas and PriorityLevelConfigurations, digested: schemas in the order in which they are tried, levels with their seats.
//!
//! Levels live on from one configuration to the next, with those who wait and execute in them. The mandatory objects stand in where they are missing, so
//! that every request finds a schema. A schema whose level does not exist does not count.

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{Object, meta};
use base::Clock;

use super::{
    borrowing::{self, Claim, Shares},
    flow_schema::{FlowSchema, level_name, order},
    level::Level,
    queue_set::Discipline,
    stats::{Histograms, SchemaStats},
};
use crate::{bootstrap::mandatory_flow_control, lookup, request_info::RequestInfo, user::UserInfo};

const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";

/// A priority level as its object says.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) level: Arc<Level>,
    discipline: Discipline,
}

/// What holds until the objects change.
#[derive(Debug)]
pub(super) struct Configuration {
    /// `--max-requests-inflight` and `--max-mutating-requests-inflight` together.
    pub(super) total_seats: u32,
    schemas: Vec<Arc<FlowSchema>>,
    catch_all: Arc<FlowSchema>,
    /// By name.
    pub(super) levels: BTreeMap<Box<str>, Configured>,
}

impl Configuration {
    /// Of the objects; `old` is what held before.
    pub(super) fn new(
        total_seats: u32,
        schemas: &[Arc<Object>],
        levels: &[Arc<Object>],
        old: Option<&Self>,
        histograms: &Histograms,
        clock: &Clock,
    ) -> Self {
        let (mandatory_schemas, mandatory_levels) = mandatory_flow_control();
        let complete = |given: &[Arc<Object>], mandatory: Vec<Object>| {
            let missing: Vec<Arc<Object>> = mandatory
                .into_iter()
                .filter(|m| given.iter().all(|g| meta::name(g) != meta::name(m)))
                .map(Arc::new)
                .collect();
            given.iter().cloned().chain(missing).collect::<Vec<_>>()
        };
        let levels = complete(levels, mandatory_levels);
        let mut schemas = complete(schemas, mandatory_schemas);
        schemas.sort_by(|a, b| order(a).cmp(&order(b)));

        let configured = configure_levels(total_seats, &levels, old, clock);
        let uid_of = |name: &str| {
            let level = levels.iter().find(|level| meta::name(level) == name);
            level.map_or("", |level| meta::uid(level))
        };
        let digested: Vec<Arc<FlowSchema>> = schemas
            .iter()
            .filter_map(|schema| {
                let level_name = level_name(schema);
                let level = Arc::clone(&configured.get(level_name)?.level);
                let name = meta::name(schema);
                let kept = old.and_then(|old| old.stats(name, level_name));
                let stats = kept
                    .unwrap_or_else(|| Arc::new(SchemaStats::new(name, level_name, histograms)));
                let uid = uid_of(level_name);
                Some(Arc::new(FlowSchema::new(schema, level, uid, stats)))
            })
            .collect();
        let catch_all = digested
            .iter()
            .find(|schema| &*schema.stats.schema == CATCH_ALL)
            .or(digested.last())
            .cloned()
            .expect("the mandatory schemas refer to the mandatory levels");
        Self {
            total_seats,
            schemas: digested,
            catch_all,
            levels: configured,
        }
    }

    fn stats(&self, schema: &str, level: &str) -> Option<Arc<SchemaStats>> {
        let found = self
            .schemas
            .iter()
            .find(|s| &*s.stats.schema == schema && &*s.stats.level == level);
        found.map(|schema| Arc::clone(&schema.stats))
    }

    /// The schemas, in the order in which they are tried.
    pub(super) fn schemas(&self) -> &[Arc<FlowSchema>] {
        &self.schemas
    }

    /// The first schema that matches; who is neither authenticated nor not, which nobody is, is caught by the last.
    pub(super) fn schema_of(&self, user: &UserInfo, info: &RequestInfo) -> &Arc<FlowSchema> {
        self.schemas
            .iter()
            .find(|schema| schema.matches(user, info))
            .unwrap_or(&self.catch_all)
    }

    /// Ends a period: divides the seats anew by what was asked for.
    pub(super) fn adjust(&self) {
        let claims: Vec<Claim> = self
            .levels
            .values()
            .map(|configured| {
                configured.level.harvest();
                let state = configured.level.state();
                Claim {
                    bounds: state.bounds,
                    high_watermark: state.demand.last.high_watermark,
                    smoothed: state.demand.smoothed,
                    exempt: configured.discipline == Discipline::Exempt,
                }
            })
            .collect();
        let allocation = borrowing::allocate(&claims);
        for ((configured, limit), claim) in self.levels.values().zip(allocation.limits).zip(&claims)
        {
            configured
                .level
                .configure(configured.discipline, claim.bounds, Some(limit));
            configured.level.state().target = claim.target();
        }
    }
}

fn configure_levels(
    total_seats: u32,
    levels: &[Arc<Object>],
    old: Option<&Configuration>,
    clock: &Clock,
) -> BTreeMap<Box<str>, Configured> {
    let shares: Vec<Shares> = levels.iter().map(|level| shares_of(level)).collect();
    let bounds = borrowing::bounds(total_seats, &shares);
    let mut configured = BTreeMap::new();
    for (object, bounds) in levels.iter().zip(bounds) {
        let name = meta::name(object);
        let discipline = discipline_of(object);
        let kept = old.and_then(|old| old.levels.get(name));
        let level = match kept {
            Some(kept) => Arc::clone(&kept.level),
            None => Arc::new(Level::new(name, discipline, clock.clone())),
        };
        // A new level begins with its nominal seats, and one whose shares have changed begins anew.
        let fresh = kept.is_none_or(|kept| kept.level.state().bounds != bounds);
        level.configure(discipline, bounds, fresh.then_some(bounds.nominal));
        configured.insert(name.into(), Configured { level, discipline });
    }
    configured
}

fn shares_of(object: &Object) -> Shares {
    let exempt = lookup::text(object, &["spec", "type"]) == "Exempt";
    let section = if exempt { EXEMPT } else { "limited" };
    let number = |field: &str| {
        let number = lookup::number(object, &["spec", section, field])?;
        u32::try_from(number).ok()
    };
    Shares {
        nominal: number("nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
        lendable_percent: number("lendablePercent").unwrap_or(0).min(100),
        borrowing_limit_percent: number("borrowingLimitPercent"),
    }
}

fn discipline_of(object: &Object) -> Discipline {
    if lookup::text(object, &["spec", "type"]) == "Exempt" {
        return Discipline::Exempt;
    }
    let response = ["spec", "limited", "limitResponse"];
    let number = |field: &str, default: usize| {
        let path: Vec<&str> = response.iter().copied().chain(["queuing", field]).collect();
        lookup::number(object, &path)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number > 0)
            .unwrap_or(default)
    };
    let path: Vec<&str> = response.iter().copied().chain(["type"]).collect();
    match lookup::text(object, &path) {
        "Queue" => Discipline::Queue {
            queues: number("queues", 64),
            hand_size: number("handSize", 8),
            queue_length: number("queueLengthLimit", 50),
        },
        _ => Discipline::Reject,
    }
}
