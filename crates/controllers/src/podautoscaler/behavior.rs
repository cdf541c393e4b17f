//! How fast the number of replicas may change: stabilization windows, rates and bounds. Pure, but for the memory that it is handed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec,
};

/// The longest window and period that the API allows.
const LONGEST_SECONDS: i64 = 3600;

/// What is remembered of an autoscaler. Bounded: nothing is older than an hour, and a look is taken every 15 seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommendations: Vec<(Timestamp, i32)>,
    /// By how much it was scaled up, and when.
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

impl Memory {
    /// What the target had when it was first looked at counts as a recommendation.
    pub(super) fn begin(&mut self, replicas: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, replicas));
        }
    }

    /// The target was scaled.
    pub(super) fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        if to > from {
            self.ups.push((now, to - from));
        } else {
            self.downs.push((now, from - to));
        }
    }

    fn forget_old(&mut self, now: Timestamp) {
        let oldest = before(now, LONGEST_SECONDS);
        for list in [&mut self.recommendations, &mut self.ups, &mut self.downs] {
            list.retain(|(at, _)| *at >= oldest);
        }
    }
}

fn before(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MIN)
}

/// A condition: type, status, reason, message.
pub(super) type Said = (&'static str, &'static str, &'static str, String);

/// The number of replicas after all limits, and what is said about it.
pub(super) fn limit(
    spec: &HorizontalPodAutoscalerSpec,
    memory: &mut Memory,
    current: i32,
    recommended: i32,
    stabilization: Duration,
    now: Timestamp,
) -> (i32, [Said; 2]) {
    memory.forget_old(now);
    let stabilization = i32::try_from(stabilization.as_secs()).unwrap_or(i32::MAX);
    let minimum = spec.min_replicas.unwrap_or(1);
    let (stable, reason, why) = match &spec.behavior {
        None => {
            let since = before(now, stabilization.into());
            let recent = memory.recommendations.iter().filter(|(at, _)| *at >= since);
            let highest = recent.map(|(_, replicas)| *replicas).max();
            let highest = highest.unwrap_or(recommended).max(recommended);
            (highest, "ScaleDownStabilized", HIGHER)
        }
        Some(behavior) => {
            let window = |rules: Option<&HPAScalingRules>, default| {
                rules
                    .and_then(|rules| rules.stabilization_window_seconds)
                    .unwrap_or(default)
            };
            let up = window(behavior.scale_up.as_ref(), 0);
            let down = window(behavior.scale_down.as_ref(), stabilization);
            let within = |seconds: i32| {
                let since = before(now, seconds.into());
                let recent = memory
                    .recommendations
                    .iter()
                    .filter(move |(at, _)| *at > since);
                recent.map(|(_, replicas)| *replicas)
            };
            let lowest = within(up).min().unwrap_or(recommended).min(recommended);
            let highest = within(down).max().unwrap_or(recommended).max(recommended);
            let stable = current.max(lowest).min(highest);
            if recommended >= current {
                (stable, "ScaleUpStabilized", LOWER)
            } else {
                (stable, "ScaleDownStabilized", HIGHER)
            }
        }
    };
    memory.recommendations.push((now, recommended));
    let able = if stable == recommended {
        ("ReadyForNewScale", "recommended size matches current size")
    } else {
        (reason, why)
    };
    let (replicas, reason, message) = match &spec.behavior {
        None => within_bounds(current, stable, minimum, spec.max_replicas),
        Some(behavior) => {
            let rules = [behavior.scale_up.as_ref(), behavior.scale_down.as_ref()];
            within_rates(
                rules,
                memory,
                [current, stable, minimum, spec.max_replicas],
                now,
            )
        }
    };
    let limited = if replicas == stable { "False" } else { "True" };
    let said = [
        ("AbleToScale", "True", able.0, able.1.to_owned()),
        ("ScalingLimited", limited, reason, message.to_owned()),
    ];
    (replicas, said)
}

const HIGHER: &str = "recent recommendations were higher than current one, applying the highest recent recommendation";
const LOWER: &str =
    "recent recommendations were lower than current one, applying the lowest recent recommendation";
const FREE: (&str, &str) = (
    "DesiredWithinRange",
    "the desired count is within the acceptable range",
);
const TOO_FAST_UP: (&str, &str) = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const TOO_FAST_DOWN: (&str, &str) = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const TOO_MANY: (&str, &str) = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: (&str, &str) = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);

type Limited = (i32, &'static str, &'static str);

fn because(replicas: i32, (reason, message): (&'static str, &'static str)) -> Limited {
    (replicas, reason, message)
}

/// Without rules: at most twice as many at once, or four.
fn within_bounds(current: i32, wanted: i32, minimum: i32, maximum: i32) -> Limited {
    let rate = current.saturating_mul(2).max(4);
    let (most, reason) = if maximum > rate {
        (rate, TOO_FAST_UP)
    } else {
        (maximum, TOO_MANY)
    };
    if wanted < minimum {
        because(minimum, TOO_FEW)
    } else if wanted > most {
        because(most, reason)
    } else {
        because(wanted, FREE)
    }
}

fn within_rates(
    [up, down]: [Option<&HPAScalingRules>; 2],
    memory: &Memory,
    [current, wanted, minimum, maximum]: [i32; 4],
    now: Timestamp,
) -> Limited {
    if wanted > current {
        let rate = rate(up, memory, current, now, 1).max(current);
        let (most, reason) = if maximum > rate {
            (rate, TOO_FAST_UP)
        } else {
            (maximum, TOO_MANY)
        };
        if wanted > most {
            return because(most, reason);
        }
    } else if wanted < current {
        let rate = rate(down, memory, current, now, -1).min(current);
        let (least, reason) = if minimum < rate {
            (rate, TOO_FAST_DOWN)
        } else {
            (minimum, TOO_FEW)
        };
        if wanted < least {
            return because(least, reason);
        }
    }
    because(wanted, FREE)
}

/// The farthest that the rules allow in one direction (1 up, -1 down).
fn rate(
    rules: Option<&HPAScalingRules>,
    memory: &Memory,
    current: i32,
    now: Timestamp,
    direction: i32,
) -> i32 {
    let select = rules.and_then(|rules| rules.select_policy.as_deref());
    if select == Some("Disabled") {
        return current;
    }
    let changed = |events: &[(Timestamp, i32)], seconds: i32| -> i32 {
        let since = before(now, seconds.into());
        events
            .iter()
            .filter(|(at, _)| *at > since)
            .map(|(_, change)| change)
            .sum()
    };
    let allowed = |policy: &HPAScalingPolicy| {
        let added = changed(&memory.ups, policy.period_seconds);
        let removed = changed(&memory.downs, policy.period_seconds);
        let start = current - added + removed;
        if policy.type_ == "Pods" {
            return start.saturating_add(policy.value.saturating_mul(direction));
        }
        let share = f64::from(policy.value) / 100.0 * f64::from(direction);
        let replicas = f64::from(start) * (1.0 + share);
        // Up is rounded up, or one pod would never become two; a cast saturates.
        if direction > 0 {
            replicas.ceil() as i32
        } else {
            replicas as i32
        }
    };
    let policies = rules
        .and_then(|rules| rules.policies.as_deref())
        .unwrap_or_default();
    let all = policies.iter().map(allowed);
    let farthest_is_most = (direction > 0) == (select != Some("Min"));
    let found = if farthest_is_most {
        all.max()
    } else {
        all.min()
    };
    found.unwrap_or(current)
}
