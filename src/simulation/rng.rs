//! Chance without entropy: every draw is a function of the seed and of what it decides about.
//!
//! Draws are keyed by identity (`"jitter"`, link, frame), so that leaving one operation out of a plan
//! does not reshuffle everything after it.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The source of every draw of one run.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance { seed }
    }

    /// The draws that decide about one thing: a label and the numbers that name it.
    pub fn of(self, label: &str, ids: &[u64]) -> Rng {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 0x6d65_7269_6469_616e);
        hasher.write(label.as_bytes());
        hasher.write_u8(0xff);
        for id in ids {
            hasher.write(&id.to_be_bytes());
        }
        Rng {
            state: hasher.finish(),
        }
    }
}

/// A stream of draws: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 when there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// An index into a collection of `len`; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        let limit = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(limit)).unwrap_or(0)
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number of `-size..=size`.
    pub fn around(&mut self, size: u64) -> i64 {
        let size_signed = i64::try_from(size).unwrap_or(i64::MAX / 2);
        let drawn = self.below(size.saturating_mul(2).saturating_add(1));
        i64::try_from(drawn).unwrap_or(0) - size_signed
    }

    /// True in `share` of 1,000 draws.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1_000) < share
    }

    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// One of `choices`, which has at least one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// Puts `list` into any order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.index(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_what_they_decide_about() {
        let chance = Chance::new(7);
        let first = |label: &str, ids: &[u64]| chance.of(label, ids).draw();
        assert_eq!(first("jitter", &[1, 2]), first("jitter", &[1, 2]));
        assert_ne!(first("jitter", &[1, 2]), first("jitter", &[2, 1]));
        assert_ne!(first("jitter", &[1]), first("sync", &[1]));
        assert_ne!(
            first("jitter", &[1]),
            Chance::new(8).of("jitter", &[1]).draw()
        );
    }

    #[test]
    fn ranges_are_kept() {
        let mut rng = Chance::new(1).of("test", &[]);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!((-4..=4).contains(&rng.around(4)));
            assert_eq!(rng.below(1), 0);
            assert_eq!(rng.between(9, 9), 9);
        }
    }
}
