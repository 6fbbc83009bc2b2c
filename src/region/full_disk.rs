//! A disk that takes nothing, or little: said once when it begins and once when it is over, not for every group.

use super::notices::STORE_FULL_US;
use crate::clock::Now;

/// From the first refused group to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Episode {
    since_us: u64,
    last_us: u64,
    pub groups: u64,
}

impl Episode {
    pub fn seconds(&self) -> u64 {
        self.last_us.saturating_sub(self.since_us) / 1_000_000
    }
}

#[derive(Debug, Default)]
pub(super) struct FullDisk(Option<Episode>);

impl FullDisk {
    /// A group was refused. True when this begins an episode.
    pub fn refused(&mut self, now: Now) -> bool {
        let begins = self.0.is_none();
        let episode = self.0.get_or_insert(Episode {
            since_us: now.mono_us,
            last_us: now.mono_us,
            groups: 0,
        });
        episode.last_us = now.mono_us;
        episode.groups += 1;
        begins
    }

    /// A group was taken. The episode, when it is over: nothing has been refused for a while. A single group says
    /// little, as small ones fit long before large ones do.
    pub fn taken(&mut self, now: Now) -> Option<Episode> {
        let over = |e: &mut Episode| now.mono_us.saturating_sub(e.last_us) >= STORE_FULL_US;
        self.0.take_if(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_when_it_begins_and_when_it_is_over() {
        let at = |s: u64| Now {
            wall_us: 7,
            mono_us: s * 1_000_000,
        };
        let mut disk = FullDisk::default();
        assert_eq!(disk.taken(at(1)), None);
        assert!(disk.refused(at(2)));
        assert_eq!(disk.taken(at(3)), None, "a small one");
        assert!(!disk.refused(at(9)));
        assert_eq!(disk.taken(at(18)), None);
        let episode = disk.taken(at(19)).expect("over");
        assert_eq!((episode.seconds(), episode.groups), (7, 2));
        assert_eq!(disk.taken(at(20)), None);
        assert!(disk.refused(at(21)), "another one");
    }
}
