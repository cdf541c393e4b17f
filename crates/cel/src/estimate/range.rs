//! Numbers of which a least and a most are known. All arithmetic saturates.

/// What an evaluation costs at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// At least.
    pub min: u64,
    /// At most; the largest number if it is not bounded.
    pub max: u64,
}

/// A size or a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Range {
    /// Of what nothing is known.
    pub(crate) const UNKNOWN: Self = Self {
        min: 0,
        max: u64::MAX,
    };

    pub(crate) const fn exactly(value: u64) -> Self {
        Self {
            min: value,
            max: value,
        }
    }

    /// What any union replaces; of nothing at all, zero.
    pub(crate) fn none(empty: bool) -> Self {
        Self {
            min: if empty { 0 } else { u64::MAX },
            max: 0,
        }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    /// Times a factor, rounded up.
    pub(crate) fn scale(self, factor: f64) -> Self {
        // Casts of floats saturate.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self {
            min: scale(self.min),
            max: scale(self.max),
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}
