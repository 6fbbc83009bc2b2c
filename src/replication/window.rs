//! How much may be on its way to one peer: what its link delivers in a round trip, twice.
//!
//! A window that is too small leaves a long link idle, one that is too large only fills queues in front of a
//! slow one. So the window follows the rate of acknowledgements: where it is what holds the rate down, the
//! rate doubles with it every round trip until the link, or the peer's disk, does.

use super::{BATCH_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, WINDOW_BYTES_START};

/// What is allowed for the peer's apply and sync on top of the round trip.
const APPLY_US: u64 = 20_000;
/// The least time that a rate is measured over.
const SAMPLE_US: u64 = 50_000;

#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
    /// Acknowledged bytes a second, the most of late.
    rate: u64,
    /// Acknowledged since `since_us`.
    delivered: u64,
    since_us: u64,
}

impl Window {
    pub fn new(now_us: u64) -> Self {
        Window {
            bytes: WINDOW_BYTES_START,
            rate: 0,
            delivered: 0,
            since_us: now_us,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something is shipped after nothing was under way: the silence before says nothing of the link.
    pub fn begin(&mut self, now_us: u64) {
        self.delivered = 0;
        self.since_us = now_us;
    }

    /// `bytes` were acknowledged on a link of this round trip: the window doubles up to what the link is
    /// good for.
    pub fn acknowledged(&mut self, now_us: u64, bytes: usize, rtt_us: u64) {
        self.delivered = self.delivered.saturating_add(bytes as u64);
        let took_us = now_us.saturating_sub(self.since_us);
        if took_us >= rtt_us.max(SAMPLE_US) {
            let sample = self.delivered.saturating_mul(1_000_000) / took_us;
            self.rate = sample.max(self.rate - self.rate / 8);
            self.begin(now_us);
        }
        let round_us = rtt_us.saturating_add(APPLY_US);
        let product = self.rate.saturating_mul(round_us) / 1_000_000;
        let limit = usize::try_from(product.saturating_mul(2)).unwrap_or(usize::MAX);
        let limit = limit.clamp(WINDOW_BYTES_START, WINDOW_BYTES_MAX);
        self.bytes = self.bytes.saturating_mul(2).min(limit);
    }

    /// Acknowledgements stay away, for the `backoff`th time in a row.
    pub fn stalled(&mut self, now_us: u64, backoff: u32) {
        self.bytes = (BATCH_BYTES_MAX >> backoff).max(WINDOW_BYTES_MIN);
        self.rate = 0;
        self.begin(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that delivers `rate` bytes a second after `rtt_us`: what the window is after some seconds.
    fn settle(rate: u64, rtt_us: u64) -> usize {
        let mut window = Window::new(0);
        let mut now_us = 0;
        for _ in 0..200 {
            let link = rate.saturating_mul(rtt_us) / 1_000_000;
            let sent = window.bytes().min(usize::try_from(link).unwrap());
            now_us += rtt_us;
            window.acknowledged(now_us, sent, rtt_us);
        }
        window.bytes()
    }

    #[test]
    fn a_window_follows_bandwidth_and_round_trip() {
        assert_eq!(settle(500_000, 100_000), WINDOW_BYTES_START, "a slow link");
        assert_eq!(settle(1_000_000_000, 300_000), WINDOW_BYTES_MAX, "the most");
        let middle = settle(10_000_000, 200_000);
        assert!((4_000_000..=5_000_000).contains(&middle), "{middle}");
        assert_eq!(settle(20_000_000, 1_000), WINDOW_BYTES_START, "next door");
    }

    #[test]
    fn a_stalled_link_gets_little_and_comes_back() {
        let mut window = Window::new(0);
        window.stalled(1, 4);
        assert_eq!(window.bytes(), WINDOW_BYTES_MIN);
        for n in 0..10 {
            window.acknowledged(100_000 * n, 1_000, 100_000);
        }
        assert_eq!(window.bytes(), WINDOW_BYTES_START);
    }
}
