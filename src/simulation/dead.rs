//! Members that are away for longer than the others wait for them.

use super::plan::Config;
use super::rng::Chance;
use super::scenario::Scenario;
use crate::replication::SilenceLimits;

/// How much longer it takes until all is equal where a member may have to come back: it hands over what only it
/// has, forgets the rest, is given everything.
const RETURN_US: u64 = 40_000_000;
/// For how long a silence that has ended may still have consequences.
const LATELY_US: u64 = 30_000_000;

/// How long a member may be silent in a world; 0 = as long as in production.
pub fn after_us(scenario: &Scenario, chance: Chance) -> u64 {
    match scenario.dead_members {
        Some(true) => chance.of("dead after", &[]).pick(&[3_000_000, 5_000_000]),
        Some(false) | None => 0,
    }
}

pub fn allow_for_returns(config: &mut Config) {
    if config.dead_after_us > 0 {
        config.converge_us += RETURN_US;
    }
}

impl Config {
    pub fn silence_limits(&self) -> SilenceLimits {
        let limits = SilenceLimits::default();
        match self.dead_after_us {
            0 => limits,
            dead_after_us => SilenceLimits {
                dead_after_us,
                ..limits
            },
        }
    }
}

/// What the world knows of how one region heard another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hearing {
    last_us: u64,
    /// When the last long silence ended.
    ended_us: Option<u64>,
}

impl Hearing {
    /// A frame arrives.
    pub fn again(&mut self, now_us: u64, dead_us: u64) {
        if now_us.saturating_sub(self.last_us) >= dead_us / 10 * 9 {
            self.ended_us = Some(now_us);
        }
        self.last_us = now_us;
    }

    /// Whether there was a silence as long as that of the dead, clocks' drift allowed for, so lately that what
    /// followed from it may not be known everywhere yet.
    pub fn was_silent(self, now_us: u64, dead_us: u64) -> bool {
        let long = now_us.saturating_sub(self.last_us) >= dead_us / 10 * 9;
        long || self
            .ended_us
            .is_some_and(|at_us| now_us - at_us <= LATELY_US)
    }
}
