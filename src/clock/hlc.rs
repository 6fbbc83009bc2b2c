//! The hybrid logical clock of Kulkarni et al. 2014, as a plain value with time passed in.
//!
//! Owned by the writer thread, so that within a region stamp order is commit order (I2). It never
//! wraps: where the published crates run backwards or panic, an exhausted logical counter borrows
//! one microsecond from the future.

use super::{Now, RegionId, Stamp};

/// The greatest physical time the clock follows (about the year 148,000). A stamp beyond it is
/// damage or malice; following it would leave no room above it to issue from.
pub const PHYSICAL_US_MAX: u64 = 1 << 62;

/// Why a stamp from outside cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HlcError {
    #[error("the stamp {0} lies beyond every possible time: the commit that carries it is damaged")]
    BeyondTime(Stamp),
}

/// One region's clock.
#[derive(Clone, Debug)]
pub struct Hlc {
    region: RegionId,
    physical_us: u64,
    logical: u32,
}

impl Hlc {
    /// A clock that has issued and seen nothing.
    pub fn new(region: RegionId) -> Self {
        Hlc {
            region,
            physical_us: 0,
            logical: 0,
        }
    }

    /// A clock that only issues stamps above `bound`: the stored upper bound on what an earlier life
    /// of this region may have issued (I11 across crashes and backward clock steps).
    pub fn resume(region: RegionId, bound: Stamp) -> Self {
        let mut clock = Hlc::new(region);
        clock.follow(bound.physical_us, bound.logical);
        clock
    }

    /// Issues the next stamp: greater than every stamp issued or observed before (I11).
    pub fn tick(&mut self, now: Now) -> Stamp {
        let before = (self.physical_us, self.logical);
        let wall_us = now.wall_us.min(PHYSICAL_US_MAX);
        if wall_us > self.physical_us {
            self.physical_us = wall_us;
            self.logical = 0;
        } else if let Some(logical) = self.logical.checked_add(1) {
            self.logical = logical;
        } else {
            // Room above PHYSICAL_US_MAX is 2^63 overflows of a u32: it cannot be used up.
            self.physical_us += 1;
            self.logical = 0;
        }
        assert!(
            (self.physical_us, self.logical) > before,
            "I11: a stamp must exceed every stamp before it"
        );
        self.last()
    }

    /// Moves the clock to at least `stamp` and at least `now`, so that the next stamp issued is greater.
    ///
    /// A stamp that [`Hlc::admit`] would refuse drags the clock no further than [`PHYSICAL_US_MAX`].
    pub fn observe(&mut self, stamp: Stamp, now: Now) {
        self.follow(stamp.physical_us, stamp.logical);
        self.follow(now.wall_us, 0);
    }

    /// The last stamp issued, or the clock's floor where an observation moved it since. Everything
    /// issued from here on is greater.
    pub fn last(&self) -> Stamp {
        Stamp {
            physical_us: self.physical_us,
            logical: self.logical,
            region: self.region,
        }
    }

    /// Whether `stamp` is one that a clock can have issued.
    pub fn admit(stamp: Stamp) -> Result<(), HlcError> {
        if stamp.physical_us > PHYSICAL_US_MAX {
            return Err(HlcError::BeyondTime(stamp));
        }
        Ok(())
    }

    fn follow(&mut self, physical_us: u64, logical: u32) {
        let seen = if physical_us > PHYSICAL_US_MAX {
            (PHYSICAL_US_MAX, 0)
        } else {
            (physical_us, logical)
        };
        if seen > (self.physical_us, self.logical) {
            (self.physical_us, self.logical) = seen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(wall_us: u64) -> Now {
        Now {
            wall_us,
            mono_us: 0,
        }
    }

    fn stamp(physical_us: u64, logical: u32, region: u16) -> Stamp {
        Stamp {
            physical_us,
            logical,
            region: RegionId(region),
        }
    }

    #[test]
    fn stands_still_and_steps_back_but_never_repeats() {
        let mut clock = Hlc::new(RegionId(1));
        assert_eq!(clock.tick(at(10)), stamp(10, 0, 1));
        assert_eq!(clock.tick(at(10)), stamp(10, 1, 1));
        assert_eq!(clock.tick(at(3)), stamp(10, 2, 1));
        assert_eq!(clock.tick(at(11)), stamp(11, 0, 1));
    }

    #[test]
    fn an_exhausted_counter_borrows_a_microsecond() {
        let mut clock = Hlc::resume(RegionId(1), stamp(10, u32::MAX, 7));
        assert_eq!(clock.tick(at(10)), stamp(11, 0, 1));
        assert_eq!(clock.tick(at(10)), stamp(11, 1, 1));
    }

    #[test]
    fn a_stamp_from_beyond_time_is_refused_and_not_followed() {
        let absurd = stamp(u64::MAX, u32::MAX, 2);
        assert_eq!(Hlc::admit(absurd), Err(HlcError::BeyondTime(absurd)));
        assert_eq!(Hlc::admit(stamp(PHYSICAL_US_MAX, u32::MAX, 2)), Ok(()));
        let mut clock = Hlc::new(RegionId(1));
        clock.observe(absurd, at(0));
        let first = clock.tick(at(u64::MAX));
        assert!(clock.tick(at(u64::MAX)) > first);
    }

    #[test]
    fn a_later_region_number_does_not_hide_an_observed_stamp() {
        let mut clock = Hlc::new(RegionId(1));
        clock.observe(stamp(10, 4, 60), at(2));
        assert!(clock.tick(at(2)) > stamp(10, 4, 60));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Tick(u64),
        Observe(u64, u32, u64),
        Restart,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..40).prop_map(Op::Tick),
            (
                0u64..40,
                prop_oneof![0u32..4, u32::MAX - 2..=u32::MAX],
                0u64..40
            )
                .prop_map(|(p, l, now)| Op::Observe(p, l, now)),
            Just(Op::Restart),
        ]
    }

    proptest! {
        /// I11, with counters near overflow, clocks stepping both ways, and restarts from a bound.
        #[test]
        fn every_stamp_exceeds_all_before_it(ops in prop::collection::vec(op(), 0..60)) {
            let mut clock = Hlc::new(RegionId(3));
            let mut highest = Stamp::MIN;
            for op in ops {
                match op {
                    Op::Tick(now) => {
                        let next = clock.tick(at(now));
                        prop_assert!(next > highest);
                        prop_assert!(next.physical_us >= now);
                        highest = next;
                    }
                    Op::Observe(p, l, now) => {
                        clock.observe(stamp(p, l, 9), at(now));
                        highest = highest.max(stamp(p, l, 9));
                    }
                    Op::Restart => clock = Hlc::resume(RegionId(3), highest),
                }
            }
        }

        /// The crate `hlc` as an independent oracle. Its clock cannot be set without a further
        /// dependency, so observed stamps (all after the year 2100, ahead of its real clock) drive both.
        #[test]
        fn agrees_with_the_hlc_crate(events in prop::collection::vec(prop::option::of((0u64..20, 0u16..300)), 1..60)) {
            const FAR_S: u64 = 4_200_000_000;
            let mut oracle = hlc::State::new();
            let mut clock = Hlc::new(RegionId(3));
            let far = (FAR_S as i64, 0i32);
            oracle.update(hlc::HLTimespec::new(far.0, far.1, 0));
            clock.observe(stamp(FAR_S * 1_000_000, 0, 9), at(0));
            clock.tick(at(0));
            for event in events {
                let theirs = match event {
                    Some((us, logical)) => {
                        clock.observe(stamp(FAR_S * 1_000_000 + us, u32::from(logical), 9), at(0));
                        oracle.update(hlc::HLTimespec::new(far.0, us as i32 * 1_000, logical))
                    }
                    None => oracle.get_time(),
                };
                let ours = clock.tick(at(0));
                let (us, logical) = (ours.physical_us, ours.logical);
                let shown = format!("{}.{}+{}", us / 1_000_000, us % 1_000_000 * 1_000, logical);
                prop_assert_eq!(shown, theirs.to_string());
            }
        }
    }
}
