//! How the server's seats are divided among priority levels: the nominal shares of the configuration, and, every period, what each level
//! lends to others that ask for more (KEP-1040, *dispatching with borrowing*).

/// A level's limits, in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What its shares give it.
    pub(super) nominal: u32,
    /// What nobody can borrow from it.
    pub(super) min: u32,
    /// What it can come to with all it may borrow.
    pub(super) max: u32,
}

/// What a level says of itself, read off a PriorityLevelConfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) nominal: u32,
    pub(super) lendable_percent: u32,
    /// None: as much as there is.
    pub(super) borrowing_limit_percent: Option<u32>,
}

/// Each level's bounds when the server has `total` seats.
pub(super) fn bounds(total: u32, levels: &[Shares]) -> Vec<Bounds> {
    let sum: u64 = levels.iter().map(|level| u64::from(level.nominal)).sum();
    let of = |level: &Shares| {
        let nominal = (u64::from(total) * u64::from(level.nominal))
            .checked_div(sum)
            .map_or(0, |floor| {
                let exact = floor * sum == u64::from(total) * u64::from(level.nominal);
                floor + u64::from(!exact)
            }) as u32;
        let percent = |percent: u32| (f64::from(nominal) * f64::from(percent) / 100.0).round();
        let lendable = percent(level.lendable_percent) as u32;
        let borrowing = level
            .borrowing_limit_percent
            .map_or(total, |limit| percent(limit) as u32);
        Bounds {
            nominal,
            min: nominal.saturating_sub(lendable),
            max: nominal + borrowing,
        }
    };
    levels.iter().map(of).collect()
}

/// What a level asks for in a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) bounds: Bounds,
    /// The most seats it wanted at once in the last period.
    pub(super) high_watermark: f64,
    /// See [`super::demand::Demand`].
    pub(super) smoothed: f64,
    /// It takes what it takes: no limit holds for it, and the others share what is left.
    pub(super) exempt: bool,
}

impl Claim {
    /// What it keeps in this period: its nominal seats as far as it used them, and at least what cannot be lent.
    fn floor(&self) -> f64 {
        let used = self.high_watermark.min(f64::from(self.bounds.nominal));
        used.max(f64::from(self.bounds.min))
    }

    /// What it aims at.
    pub(super) fn target(&self) -> f64 {
        self.floor().max(self.smoothed)
    }
}

/// The current limits of a period.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allocation {
    /// One for each claim.
    pub(super) limits: Vec<u32>,
    /// What share of its target each level got, before bounds: `seat_fair_frac`.
    pub(super) fair_fraction: f64,
}

/// Divides the seats of all nominal limits. Each level gets the same fraction of what it aims at, kept within its bounds.
pub(super) fn allocate(claims: &[Claim]) -> Allocation {
    let total: f64 = claims.iter().map(|c| f64::from(c.bounds.nominal)).sum();
    let exempt = |claim: &Claim| f64::from(claim.bounds.min).max(claim.high_watermark.round());
    let taken: f64 = claims.iter().filter(|c| c.exempt).map(exempt).sum();
    let left = (total - taken).max(0.0);
    let limited = || claims.iter().filter(|claim| !claim.exempt);
    let mins: f64 = limited().map(|c| f64::from(c.bounds.min)).sum();
    let floors: f64 = limited().map(Claim::floor).sum();
    let mut fair_fraction = 0.0;
    let limit: Box<dyn Fn(&Claim) -> f64> = if left <= mins {
        Box::new(|claim| f64::from(claim.bounds.min))
    } else if left <= floors {
        // What exempt requests took is missing: all floors sink alike.
        let part = (left - mins) / (floors - mins);
        Box::new(move |claim| {
            let min = f64::from(claim.bounds.min);
            min + part * (claim.floor() - min)
        })
    } else {
        fair_fraction = fair(limited(), left);
        let fraction = fair_fraction;
        Box::new(move |claim| share(claim, fraction))
    };
    let limits = claims
        .iter()
        .map(|claim| {
            if claim.exempt {
                exempt(claim) as u32
            } else {
                limit(claim).round() as u32
            }
        })
        .collect();
    Allocation {
        limits,
        fair_fraction,
    }
}

fn share(claim: &Claim, fraction: f64) -> f64 {
    let max = f64::from(claim.bounds.max).max(claim.floor());
    // One that aims at nothing still takes part when there is more than anybody wants.
    (fraction * claim.target().max(0.1)).clamp(claim.floor(), max)
}

/// The fraction at which all shares together are `seats`. The sum grows with the fraction, so it is found by halving.
fn fair<'a>(claims: impl Iterator<Item = &'a Claim> + Clone, seats: f64) -> f64 {
    let sum = |fraction: f64| -> f64 { claims.clone().map(|claim| share(claim, fraction)).sum() };
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while sum(high) < seats && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if sum(middle) < seats {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(nominal: u32, lendable_percent: u32) -> Shares {
        Shares {
            nominal,
            lendable_percent,
            borrowing_limit_percent: None,
        }
    }

    #[test]
    fn the_suggested_configuration_divides_six_hundred_seats_as_upstream_does() {
        let levels = [
            shares(5, 0),
            shares(20, 50),
            shares(10, 0),
            shares(40, 25),
            shares(30, 33),
            shares(40, 50),
            shares(100, 90),
            shares(0, 0),
        ];
        let found: Vec<(u32, u32)> = bounds(600, &levels)
            .iter()
            .map(|bounds| (bounds.nominal, bounds.min))
            .collect();
        let expected = [
            (13, 13),
            (49, 24),
            (25, 25),
            (98, 73),
            (74, 50),
            (98, 49),
            (245, 24),
            (0, 0),
        ];
        assert_eq!(found, expected);
    }

    fn claim(nominal: u32, min: u32, max: u32, wants: f64) -> Claim {
        Claim {
            bounds: Bounds { nominal, min, max },
            high_watermark: wants,
            smoothed: wants,
            exempt: false,
        }
    }

    #[test]
    fn an_idle_level_lends_to_a_busy_one_and_keeps_its_minimum() {
        let allocation = allocate(&[claim(100, 10, 200, 0.0), claim(100, 50, 300, 500.0)]);
        assert_eq!(allocation.limits, [10, 190]);
        // Nobody gets more than its borrowing limit; the rest stays where it was.
        let allocation = allocate(&[claim(100, 10, 200, 0.0), claim(100, 50, 120, 500.0)]);
        assert_eq!(allocation.limits, [80, 120]);
    }

    #[test]
    fn a_level_keeps_what_it_uses_of_its_own() {
        let allocation = allocate(&[claim(100, 10, 200, 100.0), claim(100, 50, 300, 900.0)]);
        assert_eq!(allocation.limits, [100, 100]);
    }

    #[test]
    fn exempt_requests_are_counted_but_never_starve_the_minimum() {
        let exempt = Claim {
            exempt: true,
            ..claim(0, 0, 600, 170.0)
        };
        let allocation = allocate(&[
            exempt,
            claim(100, 10, 200, 100.0),
            claim(100, 30, 200, 100.0),
        ]);
        assert_eq!(allocation.limits, [170, 10, 30]);
    }

    #[test]
    fn limits_add_up_to_the_nominal_ones() {
        for wants in [0.0, 1.0, 50.0, 350.0] {
            let claims = [
                claim(49, 24, 649, wants),
                claim(98, 73, 698, 3.0),
                claim(245, 24, 845, 0.0),
            ];
            let sum: u32 = allocate(&claims).limits.iter().sum();
            assert!(sum.abs_diff(392) <= 1, "{wants}: {sum}");
        }
    }
}
