//! What is durable everywhere: watermarks, the stable stamp and the floors of the logs
//! (replication.md section 10).
//!
//! `W[g, o]` of a region: every commit of region `o` in group `g` stamped at or below it is durably applied
//! there. A region learns its own `W` from heartbeats: one that says "all up to stamp T is in this frontier"
//! is a mark, and once the durable frontier here covers the mark, `W` is T. The stable stamp `S[g]` is the
//! least `W` over all members and origins of the group. It never goes back (I8): a region that is silent
//! keeps the last word it gave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::replicator::{Replicator, Scene};
use super::{Action, STABLE_US};
use crate::clock::{RegionId, Stamp};
use crate::maybe;
use crate::replica::PlantedBug;
use crate::replica::manifest::State;
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::stable::Stability;

/// By group and origin, the stamp up to which a region has everything.
pub type Watermarks = BTreeMap<(GroupId, RegionId), Stamp>;

/// Marks that wait for the frontier, per group and origin. When there are more, newer ones are dropped:
/// the oldest are reached first, and every heartbeat brings another.
const MARKS_MAX: usize = 32;

/// A promise of a peer: with these commits, all up to the stamp is there.
#[derive(Debug)]
struct Mark {
    upto: Stamp,
    needs: Vec<(LogId, u64)>,
}

impl Mark {
    fn is_met(&self, durable: &Frontier) -> bool {
        let has = |(log, seq): &(LogId, u64)| durable.get(log).is_some_and(|have| have >= seq);
        self.needs.iter().all(has)
    }
}

/// What one region knows of what all have.
#[derive(Debug, Default)]
pub(super) struct Stable {
    /// `W` of this region, of other origins.
    here: Watermarks,
    marks: BTreeMap<(GroupId, RegionId), VecDeque<Mark>>,
    /// `W` of every peer, as last heard.
    peers: BTreeMap<RegionId, Watermarks>,
    /// The own watermark of every peer, as last heard; `Stamp::MIN` from one that cannot give its word.
    words: BTreeMap<RegionId, Stamp>,
    /// Per group a stable stamp, and what the clocks of all members had passed when they had all up to it: once
    /// that is stable too, the first is settled.
    settling: BTreeMap<GroupId, (Stamp, Stamp)>,
    /// What was last found.
    found: Stability,
}

impl Stable {
    /// `W` of this region, whose own commits are durable up to `own`, in the groups it shares with `peer`.
    pub fn watermarks(&self, us: RegionId, own: Stamp, peer: RegionId) -> Watermarks {
        let shared = self.here.iter().filter(|((g, _), _)| g.contains(peer));
        let mut all: Watermarks = shared.map(|(key, stamp)| (*key, *stamp)).collect();
        let groups: BTreeSet<GroupId> = all.keys().map(|(group, _)| *group).collect();
        for group in groups {
            all.entry((group, us)).or_insert(own);
        }
        all
    }

    /// A peer says what it has durably: `frontier`, and in it everything up to its `watermarks`.
    pub fn heard(
        &mut self,
        us: RegionId,
        peer: RegionId,
        own: Stamp,
        frontier: &Frontier,
        watermarks: &Watermarks,
    ) {
        let mut groups: Vec<GroupId> = (frontier.keys().map(|log| log.group))
            .chain(watermarks.keys().map(|(group, _)| *group))
            .filter(|group| group.contains(us) && group.contains(peer))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        self.words.insert(peer, own);
        let known = self.peers.entry(peer).or_default();
        for ((group, origin), stamp) in watermarks {
            raise(known, (*group, *origin), *stamp);
        }
        for group in &groups {
            raise(known, (*group, peer), own);
        }
        // Only with what it says now: what it said before came with another frontier, and that may be forgotten.
        let said = groups.iter().map(|group| ((*group, peer), own));
        let promises = (watermarks.iter().map(|(key, stamp)| (*key, *stamp)))
            .filter(|(key, _)| !(key.1 == peer && groups.contains(&key.0)))
            .chain(said)
            .filter(|((group, origin), _)| group.contains(us) && *origin != us);
        for (key, upto) in promises {
            let marks = self.marks.entry(key).or_default();
            let last = marks.back().map(|mark| mark.upto);
            if last.max(self.here.get(&key).copied()) >= Some(upto) || marks.len() >= MARKS_MAX {
                continue;
            }
            let (group, origin) = key;
            let needs = (frontier.iter())
                .filter(|(log, _)| log.group == group && log.origin.region == origin)
                .map(|(log, seq)| (*log, *seq))
                .collect();
            marks.push_back(Mark { upto, needs });
        }
    }

    /// A peer begins anew: what it once said it had it may have lost. What was found stays (I8): all did
    /// have that, and a region that lost it is given a copy, for which nothing found here is needed.
    pub fn forget(&mut self, peer: RegionId) {
        self.peers.remove(&peer);
        self.words.remove(&peer);
    }

    /// The durable frontier here moved, or a mark came: `W` follows.
    pub fn advance(&mut self, durable: &Frontier) {
        for (key, marks) in &mut self.marks {
            while let Some(mark) = marks.front().filter(|mark| mark.is_met(durable)) {
                raise(&mut self.here, *key, mark.upto);
                marks.pop_front();
            }
        }
    }

    /// The stable stamp of every group, and the floor of every log: what all its members have. `None` when
    /// it is as it was. `acked` is the durable frontier of a peer as last heard.
    ///
    /// Only those that are `counted` are asked. What others made counts as long as it is not `closed`: all
    /// that are counted have what any of them has of it, and no more can come.
    pub fn find(
        &mut self,
        (us, counted): (RegionId, GroupId),
        own: Stamp,
        durable: &Frontier,
        closed: impl Fn(GroupId, RegionId) -> bool,
        acked: impl Fn(RegionId, LogId) -> u64,
    ) -> Option<Stability> {
        let mut found = self.found.clone();
        let groups: Vec<GroupId> = durable.keys().map(|log| log.group).collect();
        for group in groups {
            let open = |origin: &RegionId| counted.contains(*origin) || !closed(group, *origin);
            let origins = GroupId::of(group.regions().filter(open));
            let members = group.regions().filter(|member| counted.contains(*member));
            let stamp = members.map(|member| {
                let marks = if member == us {
                    Some(&self.here)
                } else {
                    self.peers.get(&member)
                };
                let has = |origin: RegionId| match marks {
                    _ if member == us && origin == us => own,
                    Some(marks) => marks.get(&(group, origin)).copied().unwrap_or(Stamp::MIN),
                    None => Stamp::MIN,
                };
                origins.regions().map(has).min().unwrap_or(Stamp::MIN)
            });
            let stamp = stamp.min().unwrap_or(Stamp::MIN);
            raise(&mut found.stamps, group, stamp);
            self.settle((us, counted), own, group, &mut found);
        }
        for (log, here) in durable {
            let others = log.group.without(us).regions();
            let others = others.filter(|member| counted.contains(*member));
            let floor = others.map(|peer| acked(peer, *log)).min().unwrap_or(*here);
            let known = found.floors.entry(*log).or_insert(0);
            *known = (*known).max(floor.min(*here));
        }
        if found == self.found {
            return None;
        }
        self.found = found.clone();
        Some(found)
    }

    /// What is stable of a group is settled once no commit can come any more that was made without it: each
    /// member gave its word after it had all of it, so what it made before is stamped below that word.
    fn settle(
        &mut self,
        (us, counted): (RegionId, GroupId),
        own: Stamp,
        group: GroupId,
        found: &mut Stability,
    ) {
        let stable = found.stamps.get(&group).copied().unwrap_or(Stamp::MIN);
        if let Some((settled, words)) = self.settling.get(&group).copied() {
            if stable < words {
                return;
            }
            raise(&mut found.settled, group, settled);
            self.settling.remove(&group);
        }
        let word = |member: RegionId| match member == us {
            true => own,
            false => self.words.get(&member).copied().unwrap_or(Stamp::MIN),
        };
        let members = GroupId(group.0 & counted.0);
        let words: Vec<Stamp> = members.regions().map(word).collect();
        let last = words.iter().copied().max().unwrap_or(Stamp::MIN);
        if !words.contains(&Stamp::MIN) {
            self.settling.insert(group, (stable, last));
        }
    }

    /// What was last found, for `status`.
    pub fn found(&self) -> &Stability {
        &self.found
    }
}

impl Replicator {
    /// Tells the replica what is durable everywhere, now and then.
    pub(super) fn find_stability(&mut self, scene: &mut Scene<'_>) {
        let us = self.config.region;
        let manifest = &self.config.manifest;
        let mut counted = manifest.counted();
        if self.config.planted == Some(PlantedBug::JoinerUncounted) {
            counted = manifest.in_state(|state| matches!(state, State::Active | State::Leaving));
        }
        let early = maybe!("early stability", us, scene.now);
        let lately = !early && scene.now.mono_us.saturating_sub(self.stable_us) < STABLE_US;
        if lately || !counted.contains(us) || !self.knows_members() {
            return;
        }
        self.stable_us = scene.now.mono_us;
        let own = self.own_watermark();
        // Apart for now: what is closed depends on all the rest.
        let mut stable = std::mem::take(&mut self.stable);
        let acked = |peer: RegionId, log: LogId| {
            let frontier = self.known.get(&peer).map(|k| &k.frontier);
            frontier.and_then(|f| f.get(&log)).copied().unwrap_or(0)
        };
        let closed = |group, origin| self.is_closed(group, origin);
        let found = stable.find((us, counted), own, &self.durable, closed, acked);
        self.stable = stable;
        scene.out.extend(found.map(Action::Stable));
    }
}

fn raise<K: Ord>(map: &mut BTreeMap<K, Stamp>, key: K, stamp: Stamp) {
    let known = map.entry(key).or_insert(Stamp::MIN);
    *known = (*known).max(stamp);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::mutation::Origin;

    const ALL: GroupId = GroupId(0b111);

    fn stamp(physical_us: u64) -> Stamp {
        Stamp {
            physical_us,
            logical: 0,
            region: RegionId(0),
        }
    }

    fn log(region: u16) -> LogId {
        LogId {
            group: ALL,
            origin: Origin {
                region: RegionId(region),
                incarnation: 1,
            },
        }
    }

    fn watermarks(entries: [(u16, u64); 2]) -> Watermarks {
        let entry = |(region, us): (u16, u64)| ((ALL, RegionId(region)), stamp(us));
        entries.into_iter().map(entry).collect()
    }

    #[test]
    fn a_promise_counts_once_its_commits_are_here() {
        let mut stable = Stable::default();
        let us = RegionId(0);
        let frontier = Frontier::from([(log(1), 5)]);
        stable.heard(us, RegionId(1), stamp(50), &frontier, &Watermarks::new());
        stable.advance(&Frontier::from([(log(1), 4)]));
        assert_eq!(stable.here.get(&(ALL, RegionId(1))), None);
        stable.advance(&Frontier::from([(log(1), 5)]));
        assert_eq!(stable.here.get(&(ALL, RegionId(1))), Some(&stamp(50)));
    }

    #[test]
    fn a_promise_needs_the_commits_that_were_said_with_it() {
        let mut stable = Stable::default();
        let (us, peer) = (RegionId(0), RegionId(1));
        // More promises than are kept, none of them met; then a word that says nothing.
        for upto in 1..=MARKS_MAX as u64 + 1 {
            let frontier = Frontier::from([(log(1), upto)]);
            stable.heard(us, peer, stamp(upto), &frontier, &Watermarks::new());
        }
        stable.advance(&Frontier::from([(log(1), MARKS_MAX as u64)]));
        let nothing = (Frontier::new(), Watermarks::new());
        stable.heard(us, peer, Stamp::MIN, &nothing.0, &nothing.1);
        stable.advance(&Frontier::from([(log(1), MARKS_MAX as u64)]));
        let here = stable.here.get(&(ALL, peer));
        assert_eq!(
            here,
            Some(&stamp(MARKS_MAX as u64)),
            "commit 33 is not here"
        );
    }

    #[test]
    fn the_least_word_of_anyone_is_stable_and_silence_says_nothing() {
        let mut stable = Stable::default();
        let us = RegionId(0);
        let durable = Frontier::from([(log(0), 9), (log(1), 5), (log(2), 7)]);
        let find = |stable: &mut Stable| {
            stable.advance(&durable);
            let found = stable.find((us, ALL), stamp(100), &durable, |_, _| false, |_, _| 5);
            found.map(|f| (f.stamps[&ALL], f.floors[&log(0)]))
        };
        let others = watermarks([(0, 60), (2, 70)]);
        stable.heard(us, RegionId(1), stamp(90), &durable, &others);
        assert_eq!(find(&mut stable), Some((Stamp::MIN, 5)), "2 said nothing");
        let others = watermarks([(0, 55), (1, 80)]);
        stable.heard(us, RegionId(2), stamp(95), &durable, &others);
        assert_eq!(find(&mut stable), Some((stamp(55), 5)));
        assert_eq!(find(&mut stable), None, "nothing new");
    }

    #[test]
    fn what_is_stable_is_settled_once_what_was_made_without_it_is_stable_too() {
        let mut stable = Stable::default();
        let us = RegionId(0);
        let durable = Frontier::from([(log(0), 9), (log(1), 5), (log(2), 7)]);
        let mut settled = |own: u64, first: (u64, u64), second: (u64, u64)| {
            let heard = watermarks([(0, first.1), (2, first.1)]);
            stable.heard(us, RegionId(1), stamp(first.0), &durable, &heard);
            let heard = watermarks([(0, second.1), (1, second.1)]);
            stable.heard(us, RegionId(2), stamp(second.0), &durable, &heard);
            stable.advance(&durable);
            stable.find((us, ALL), stamp(own), &durable, |_, _| false, |_, _| 5);
            stable.found().settled.get(&ALL).copied()
        };
        assert_eq!(settled(60, (60, 50), (90, 50)), None);
        assert_eq!(settled(80, (85, 80), (95, 80)), None, "90 may be under way");
        let all_heard = settled(100, (99, 95), (99, 92));
        assert_eq!(all_heard, Some(stamp(50)));
    }

    #[test]
    fn those_that_are_not_counted_hold_nothing_back_once_all_have_what_they_made() {
        let mut stable = Stable::default();
        let us = RegionId(0);
        let counted = ALL.without(RegionId(2));
        let durable = Frontier::from([(log(0), 9), (log(1), 5), (log(2), 7)]);
        let others = watermarks([(0, 80), (2, 70)]);
        stable.heard(us, RegionId(1), stamp(90), &durable, &others);
        stable.advance(&durable);
        let acked = |peer: RegionId, _: LogId| if peer == RegionId(2) { 0 } else { 4 };
        let mut find = |closed: bool| {
            let found = stable.find((us, counted), stamp(100), &durable, |_, _| closed, acked);
            found.map(|f| (f.stamps[&ALL], f.floors[&log(0)]))
        };
        assert_eq!(find(false), Some((stamp(70), 4)), "more of 2 may come");
        assert_eq!(find(true), Some((stamp(80), 4)));
    }

    #[test]
    fn a_peer_vouches_for_an_origin_that_is_cut_off() {
        let mut stable = Stable::default();
        let frontier = Frontier::from([(log(2), 7)]);
        let others = watermarks([(0, 1), (2, 70)]);
        stable.heard(RegionId(0), RegionId(1), stamp(90), &frontier, &others);
        stable.advance(&frontier);
        assert_eq!(stable.here.get(&(ALL, RegionId(2))), Some(&stamp(70)));
    }
}
