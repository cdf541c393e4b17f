//! What the command lines of all components have in common: upstream's flags, read as upstream reads them.
//!
//! A flag acts, or it is in a component's table of flags [without effect](without_effect): those are taken, and named in one line of the log. Any
//! other is an error.

pub(crate) mod command_line;
pub(crate) mod leader_election;
pub(crate) mod secure_serving;
pub(crate) mod without_effect;

use std::time::Duration;

pub(crate) use leader_election::LeaderElectionFlags;
pub(crate) use secure_serving::SecureServingFlags;
pub(crate) use without_effect::{Table, WithoutEffect};

/// A duration as Go writes it; never negative.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let nanos = apimachinery::time::parse_duration(text)?;
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| format!("{text:?} is negative"))
}
