//! Who has not been heard for how long, and whether this region still reaches a majority (replication.md
//! section 10).
//!
//! A member is *heard* with every frame that comes from it, and *reached* when it echoes what this region
//! sent: of a link that is cut one way, one end hears and does not reach. The others go by hearing when they
//! give a member up; a region goes by reaching when it gives itself up, and does so in half the time. Then
//! it takes no writes that the others would never have: they may have gone on without it.

use std::collections::BTreeMap;

use super::replicator::{Replicator, Scene};
use super::{Action, OnLogFull, STABLE_US};
use crate::clock::RegionId;
use crate::replica::mutation::GroupId;
use crate::replica::silence::{Silence, Silences};
use crate::store::{Db, StoreError};

/// How much longer or shorter a silence must be than what the store has of it for the store to be told.
const KEEP_US: u64 = 60_000_000;

/// When one member was last heard and reached, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    heard_us: Option<u64>,
    reached_us: Option<u64>,
}

/// When the others were last heard and reached.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// When this process first looked.
    began_us: Option<u64>,
    contacts: BTreeMap<RegionId, Contact>,
    /// The silences before this process began.
    earlier: Silences,
    /// What the store was last told.
    kept: Silences,
    /// Whether the replica was last told that this region is cut off.
    fenced: bool,
    /// The same of whether silent members hold back too much of the log, and when it was last looked.
    throttled: bool,
    looked_us: u64,
}

impl Contacts {
    pub fn new(earlier: Silences) -> Self {
        Contacts {
            kept: earlier.clone(),
            earlier,
            ..Contacts::default()
        }
    }

    pub fn heard(&mut self, peer: RegionId, now_us: u64) {
        self.contacts.entry(peer).or_default().heard_us = Some(now_us);
    }

    /// The peer has heard what was sent at `sent_us`, by our clock.
    pub fn reached(&mut self, peer: RegionId, sent_us: u64, now_us: u64) {
        let contact = self.contacts.entry(peer).or_default();
        let sent_us = (sent_us <= now_us).then_some(sent_us);
        contact.reached_us = contact.reached_us.max(sent_us);
    }

    /// How long the peer has been silent.
    pub fn silence(&self, peer: RegionId, now_us: u64) -> Silence {
        let contact = self.contacts.get(&peer).copied().unwrap_or_default();
        let earlier = self.earlier.get(&peer).copied().unwrap_or_default();
        let running_us = now_us.saturating_sub(self.began_us.unwrap_or(now_us));
        let since = |at_us: Option<u64>, earlier_us: u64| match at_us {
            Some(at_us) => now_us.saturating_sub(at_us),
            None => running_us.saturating_add(earlier_us),
        };
        Silence {
            unheard_us: since(contact.heard_us, earlier.unheard_us),
            unreached_us: since(contact.reached_us, earlier.unreached_us),
        }
    }

    /// For how long this region has not reached a majority of `members`, itself counted: as long as the
    /// member whom it takes to have one. Of two regions neither is a majority, so neither can tell.
    fn cut_off_us(&self, us: RegionId, members: GroupId, now_us: u64) -> u64 {
        let others: Vec<RegionId> = members.without(us).regions().collect();
        if others.len() < 2 {
            return 0;
        }
        let silence = |peer: &RegionId| self.silence(*peer, now_us).unreached_us;
        let mut unreached: Vec<u64> = others.iter().map(silence).collect();
        unreached.sort_unstable();
        // A majority of n + 1 regions is this one and so many others.
        let needed = others.len().div_ceil(2);
        unreached.get(needed - 1).copied().unwrap_or(0)
    }

    /// What the store should be told, if it is not as it was.
    fn worth_keeping(&mut self, others: GroupId, now_us: u64, step_us: u64) -> Option<Silences> {
        let long = |us: u64| if us < step_us { 0 } else { us };
        let mut silences = Silences::new();
        for peer in others.regions() {
            let silence = self.silence(peer, now_us);
            let silence = Silence {
                unheard_us: long(silence.unheard_us),
                unreached_us: long(silence.unreached_us),
            };
            if silence != Silence::default() {
                silences.insert(peer, silence);
            }
        }
        let far = |a: u64, b: u64| a.abs_diff(b) >= step_us;
        let moved = others.regions().any(|peer| {
            let of = |map: &Silences| map.get(&peer).copied().unwrap_or_default();
            let (old, new) = (of(&self.kept), of(&silences));
            far(old.unheard_us, new.unheard_us) || far(old.unreached_us, new.unreached_us)
        });
        moved.then(|| {
            self.kept.clone_from(&silences);
            silences
        })
    }
}

impl Replicator {
    /// For how long this region has not reached a majority of the members; 0 where that means nothing.
    pub fn cut_off_us(&self) -> u64 {
        let (us, now_us) = (self.config.region, self.clocks.now.mono_us);
        let voters = self.config.manifest.voters();
        self.contacts.cut_off_us(us, voters, now_us)
    }

    /// Looks whether silent members hold back more of the log than there may be.
    pub(super) fn watch_log(&mut self, scene: &mut Scene<'_>) -> Result<(), StoreError> {
        let limits = self.config.limits;
        let (Some(max), Some(txn)) = (limits.log_bytes_max, scene.shelf.txn()) else {
            return Ok(());
        };
        let now_us = scene.now.mono_us;
        if now_us.saturating_sub(self.contacts.looked_us) < STABLE_US {
            return Ok(());
        }
        self.contacts.looked_us = now_us;
        let quiet = self.others().regions().any(|peer| self.is_quiet(peer));
        let full = quiet && txn.size(Db::Log)?.bytes > max;
        let may_lapse = limits.on_log_full == OnLogFull::Lapse && self.hears_majority();
        self.log_full = full && may_lapse;
        let throttled = full && !may_lapse;
        if throttled != self.contacts.throttled {
            self.contacts.throttled = throttled;
            scene.out.push(Action::Throttle(throttled));
        }
        Ok(())
    }

    /// Whether those who are not silent could give the silent up: of two regions, and of a minority, none can.
    fn hears_majority(&self) -> bool {
        let voters = self.config.manifest.voters().without(self.config.region);
        let heard = voters.regions().filter(|peer| !self.is_quiet(*peer));
        heard.count() + 1 >= self.council.majority()
    }

    /// Whether local writes are throttled because of what silent members hold back.
    pub fn is_throttled(&self) -> bool {
        self.contacts.throttled
    }

    /// A step begins.
    pub(super) fn count_silence(&mut self, now_us: u64) {
        self.contacts.began_us.get_or_insert(now_us);
    }

    /// Tells the store how long the others have been silent, and the replica whether it may take writes.
    pub(super) fn watch_silence(&mut self, scene: &mut Scene<'_>) {
        let (us, now_us) = (self.config.region, scene.now.mono_us);
        let limits = self.config.limits;
        let step_us = KEEP_US.min(limits.dead_after_us / 16).max(1);
        let others = self.others();
        let keep = self.contacts.worth_keeping(others, now_us, step_us);
        scene.out.extend(keep.map(Action::Silences));
        let voters = self.config.manifest.voters();
        let cut_off_us = self.contacts.cut_off_us(us, voters, now_us);
        let fenced = limits.self_fence && cut_off_us >= limits.dead_after_us / 2;
        if fenced != self.contacts.fenced {
            self.contacts.fenced = fenced;
            scene.out.push(Action::CutOff(fenced));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: RegionId = RegionId(0);
    const SECOND: u64 = 1_000_000;

    fn contacts() -> Contacts {
        Contacts {
            began_us: Some(0),
            ..Contacts::default()
        }
    }

    fn group(count: u16) -> GroupId {
        GroupId::of((0..count).map(RegionId))
    }

    #[test]
    fn a_majority_counts_this_region_too() {
        let mut contacts = contacts();
        let now_us = 100 * SECOND;
        for (peer, at_us) in [(1, 90 * SECOND), (2, 50 * SECOND), (3, 10 * SECOND)] {
            contacts.reached(RegionId(peer), at_us, now_us);
        }
        let cut_off_s = |count| contacts.cut_off_us(US, group(count), now_us) / SECOND;
        assert_eq!(cut_off_s(1), 0, "alone");
        assert_eq!(cut_off_s(2), 0, "of two nobody can tell");
        assert_eq!(cut_off_s(3), 10, "one other makes two of three");
        assert_eq!(cut_off_s(4), 50, "two others make three of four");
        assert_eq!(cut_off_s(5), 50, "two others make three of five");
    }

    #[test]
    fn being_heard_is_not_hearing() {
        let mut contacts = contacts();
        let peer = RegionId(1);
        contacts.heard(peer, 40 * SECOND);
        contacts.reached(peer, 50 * SECOND, 40 * SECOND);
        let silence = contacts.silence(peer, 60 * SECOND);
        assert_eq!(silence.unheard_us, 20 * SECOND);
        assert_eq!(silence.unreached_us, 60 * SECOND, "an echo of the future");
    }

    #[test]
    fn a_silence_goes_on_across_a_restart_and_ends_with_a_word() {
        let peer = RegionId(1);
        let mut first = contacts();
        assert_eq!(
            first.worth_keeping(group(2).without(US), 30 * SECOND, KEEP_US),
            None
        );
        let kept = first.worth_keeping(group(2).without(US), 90 * SECOND, KEEP_US);
        let kept = kept.expect("more than a minute");
        assert_eq!(kept[&peer].unheard_us, 90 * SECOND);
        let mut second = Contacts::new(kept);
        second.began_us = Some(7 * SECOND);
        let silence = second.silence(peer, 17 * SECOND);
        assert_eq!(silence.unheard_us, 100 * SECOND);
        second.heard(peer, 17 * SECOND);
        second.reached(peer, 17 * SECOND, 17 * SECOND);
        let kept = second.worth_keeping(group(2).without(US), 18 * SECOND, KEEP_US);
        assert_eq!(kept, Some(Silences::new()));
    }
}
