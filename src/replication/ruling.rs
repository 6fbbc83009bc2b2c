//! What the voters decide about the members, each next record by a majority (`consensus`): that a member has lapsed,
//! that one that lapsed comes back, that one that joins has everything.
//!
//! Whoever sees a reason proposes; a voter endorses what it sees a reason for itself. So a member lapses when a
//! majority has not heard it for long, and a minority, to which most members are silent, can lapse nobody. Of
//! two members none is a majority without the other: there only a person may say that one has lapsed.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::consensus::{Consensus, Message as Said, Step, Why};
use super::life::covers;
use super::replicator::{Replicator, Scene};
use super::wire::Message;
use super::{Action, Lane, LapseError};
use crate::clock::{RegionId, Stamp};
use crate::replica::PlantedBug;
use crate::replica::manifest::{Change, Manifest, State};
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::vote::MemberVote;

/// A member that a person gives up, or that holds too much back, must have been silent for so long all the same.
const QUIET_US: u64 = 5_000_000;
/// For how long what a person asked for is tried.
const WISH_US: u64 = 20_000_000;

/// Why a change is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Cause {
    /// A member has been silent for as long as the dead are.
    Silent,
    /// A silent member holds back more of the log than there may be.
    LogFull,
    /// A person said so.
    Person,
    /// A member is as far as the change says.
    Progress,
}

/// What a proposer intends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Intent {
    pub change: Change,
    pub cause: Cause,
}

/// What one voter says to another.
pub type Ruling = Said<Intent, Vec<u8>>;

/// What a person asked for.
#[derive(Clone, Copy, Debug)]
struct Wish {
    region: RegionId,
    until_us: u64,
}

/// The voter in this region.
#[derive(Debug)]
pub(super) struct Council {
    consensus: Consensus<Intent, Vec<u8>>,
    wish: Option<Wish>,
    /// Why the last proposal of this region came to nothing.
    trouble: Option<String>,
}

impl Council {
    pub fn new(us: RegionId, manifest: &Manifest, stored: Option<MemberVote>) -> Self {
        let (epoch, voters) = (manifest.epoch.saturating_add(1), manifest.voters());
        Council {
            consensus: Consensus::new(us, epoch, voters, stored),
            wish: None,
            trouble: None,
        }
    }

    /// How many voters, this one counted, are a majority.
    pub fn majority(&self) -> usize {
        self.consensus.majority()
    }

    pub fn move_on(&mut self, manifest: &Manifest) {
        let (epoch, voters) = (manifest.epoch.saturating_add(1), manifest.voters());
        self.consensus.move_on(epoch, voters);
        self.trouble = None;
    }
}

impl Replicator {
    /// Why what was last proposed here came to nothing, for people.
    pub fn ruling_trouble(&self) -> Option<&str> {
        self.council.trouble.as_deref()
    }

    /// A person says that a member has lapsed.
    pub fn ask_to_lapse(&mut self, region: RegionId) -> Result<(), LapseError> {
        let us = self.config.region;
        let manifest = &self.config.manifest;
        if !manifest.voters().contains(us) {
            return Err(LapseError::NoVoter);
        }
        if region == us {
            return Err(LapseError::Itself);
        }
        let change = Change::Lapse { region };
        manifest.propose(&change)?;
        if !self.is_quiet(region) {
            return Err(LapseError::Heard);
        }
        let until_us = self.clocks.now.mono_us.saturating_add(WISH_US);
        self.council.wish = Some(Wish { region, until_us });
        Ok(())
    }

    /// Proposes what there is a reason for.
    pub(super) fn rule(&mut self, scene: &mut Scene<'_>) {
        let now_us = scene.now.mono_us;
        let mut steps = Vec::new();
        self.council.consensus.tick(now_us, &mut steps);
        self.take_steps(scene, steps);
        if self.council.consensus.is_proposing() {
            return;
        }
        let Some(intent) = self.intent(now_us) else {
            return;
        };
        let next = self.config.manifest.propose(&intent.change);
        let Some(bytes) = next.ok().and_then(|next| next.encode().ok()) else {
            return;
        };
        let quorum = self.quorum(&intent);
        let mut steps = Vec::new();
        let what = Some((intent, bytes));
        (self.council.consensus).propose(now_us, what, quorum, &mut steps);
        self.take_steps(scene, steps);
    }

    /// All have to agree to what a person wants of the members, and to what comes of it; a majority gives up one
    /// that is silent, and takes back one that was.
    fn quorum(&self, intent: &Intent) -> usize {
        let cause = intent.cause;
        if !matches!(
            intent.change,
            Change::Lapse { .. } | Change::Return { .. } | Change::Activate { .. }
        ) {
            return self.config.manifest.voters().regions().count();
        }
        let two = self.config.manifest.voters().regions().count() == 2;
        let alone = self.config.planted == Some(PlantedBug::LapseByMinority);
        if alone || (two && cause == Cause::Person) {
            1
        } else {
            self.council.majority()
        }
    }

    /// What this region sees a reason for.
    fn intent(&mut self, now_us: u64) -> Option<Intent> {
        let manifest = &self.config.manifest;
        if manifest.state(self.config.region) != Some(State::Active) {
            return None;
        }
        let wish = self.council.wish.filter(|wish| now_us < wish.until_us);
        let asked = wish.map(|wish| wish.region);
        if let Some(region) = asked.filter(|r| manifest.counted().contains(*r)) {
            return Some(Intent {
                change: Change::Lapse { region },
                cause: Cause::Person,
            });
        }
        self.council.wish = None;
        if let Some((change, asked)) = self.wanted() {
            let cause = if asked {
                Cause::Person
            } else {
                Cause::Progress
            };
            return Some(Intent { change, cause });
        }
        if let Some(change) = self.progress() {
            let cause = Cause::Progress;
            return Some(Intent { change, cause });
        }
        let two = self.config.manifest.voters().regions().count() == 2;
        let causes = [Cause::Silent, Cause::LogFull];
        let found = causes.into_iter().find_map(|cause| {
            let mut others = self.others().regions();
            let region = others.find(|peer| !two && self.has_lapsed(*peer, cause))?;
            Some((region, cause))
        });
        let (region, cause) = found?;
        let change = Change::Lapse { region };
        Some(Intent { change, cause })
    }

    /// A lapsed member that has handed over all it had comes back; one that has come back and has everything
    /// is as any other.
    fn progress(&self) -> Option<Change> {
        let manifest = &self.config.manifest;
        let clean = |region: &RegionId| {
            let session = self.sessions.get(region);
            session.is_some_and(|s| s.is_clean && s.epoch == manifest.epoch)
        };
        let lapsed = manifest.in_state(|state| state == State::Lapsed);
        if let Some(region) = lapsed.regions().find(clean) {
            return Some(Change::Return { region });
        }
        let joined = |region: &RegionId| {
            let known = self.known.get(region).and_then(|k| k.watermark);
            let session = self.sessions.get(region).filter(|s| s.open() && s.whole);
            session.is_some_and(|s| s.epoch == manifest.epoch) && known > Some(Stamp::MIN)
        };
        let joining = manifest.in_state(|state| state == State::Joining);
        let ready = |region: &RegionId| !self.is_waited_for(*region);
        let mut joining = joining.regions().filter(ready);
        let region = joining.find(joined)?;
        Some(Change::Activate { region })
    }

    pub(super) fn is_quiet(&self, region: RegionId) -> bool {
        let connected = self.sessions.get(&region).is_some_and(|s| s.open());
        let now_us = self.clocks.now.mono_us;
        let silence = self.contacts.silence(region, now_us);
        !connected && silence.unheard_us >= QUIET_US
    }

    fn has_lapsed(&self, region: RegionId, cause: Cause) -> bool {
        let now_us = self.clocks.now.mono_us;
        let silence = self.contacts.silence(region, now_us);
        match cause {
            Cause::Silent => silence.unheard_us >= self.config.limits.dead_after_us,
            Cause::LogFull => self.log_full && self.is_quiet(region),
            Cause::Person | Cause::Progress => false,
        }
    }

    /// Whether there is a reason for it here too.
    fn endorses(&self, intent: &Intent) -> bool {
        let legal = self.config.manifest.propose(&intent.change).is_ok();
        let fine = match (&intent.change, intent.cause) {
            (Change::Lapse { region }, _) if *region == self.config.region => false,
            (Change::Lapse { region }, Cause::Silent) => self.has_lapsed(*region, Cause::Silent),
            (Change::Lapse { region }, _) => self.is_quiet(*region),
            _ => true,
        };
        legal && fine
    }

    /// A voter says something.
    pub(super) fn on_ruling(
        &mut self,
        scene: &mut Scene<'_>,
        peer: RegionId,
        epoch: u64,
        said: Ruling,
    ) {
        let fine = match &said {
            Said::Prepare {
                intent: Some(intent),
                ..
            } => self.endorses(intent),
            _ => true,
        };
        let mut steps = Vec::new();
        let now_us = scene.now.mono_us;
        let council = &mut self.council.consensus;
        council.heard(now_us, peer, epoch, said, |_| fine, &mut steps);
        self.take_steps(scene, steps);
    }

    /// A vote is durable, or could not be made so.
    pub(super) fn on_voted(&mut self, scene: &mut Scene<'_>, ok: bool) {
        let mut steps = Vec::new();
        let now_us = scene.now.mono_us;
        self.council.consensus.saved(now_us, ok, &mut steps);
        self.take_steps(scene, steps);
    }

    fn take_steps(&mut self, scene: &mut Scene<'_>, steps: Vec<Step<Intent, Vec<u8>>>) {
        for step in steps {
            match step {
                Step::Save(vote) => scene.out.push(Action::Vote(Box::new(vote))),
                Step::Send(to, said) => {
                    if self.sessions.get(&to).is_some_and(|s| s.open()) {
                        let epoch = self.council.consensus.epoch();
                        let message = Message::Ruling { epoch, said };
                        self.send(scene, to, Lane::Control, message);
                    }
                }
                Step::Decided(bytes) => self.on_decided(scene, &bytes),
                Step::Abandoned(why) => {
                    self.council.trouble = Some(match why {
                        Why::Beaten => "another change came first".into(),
                        Why::Declined(by) => {
                            let by: Vec<String> = by.iter().map(|r| self.name_of(*r)).collect();
                            format!("{} would not have it", by.join(" and "))
                        }
                    });
                }
            }
        }
    }

    fn on_decided(&mut self, scene: &mut Scene<'_>, bytes: &[u8]) {
        let known = &self.config.manifest;
        match Manifest::decode(bytes, &known.cluster) {
            Ok(next) if next.epoch == known.epoch.saturating_add(1) => {
                crate::mark!("members agreed on");
                let lapsed = |m: &Manifest| m.in_state(|state| state == State::Lapsed);
                if lapsed(&next).0 & !lapsed(known).0 != 0 {
                    crate::mark!("lapse decided");
                }
                scene.out.push(Action::Adopt(Arc::new(next)));
            }
            Ok(_) => {}
            Err(error) => self.council.trouble = Some(error.to_string()),
        }
    }

    fn name_of(&self, region: RegionId) -> String {
        let member = self.config.manifest.member(region);
        member.map_or_else(|| region.to_string(), |m| m.name.clone())
    }

    /// Whether all that any counted member has of what `origin` made in `group`, all of them have, and no more
    /// is taken from it: they know that it is not counted.
    pub(super) fn is_closed(&self, group: GroupId, origin: RegionId) -> bool {
        let epoch = self.epoch();
        let others = GroupId(group.0 & self.others().0);
        let mut frontiers = vec![&self.durable];
        for peer in others.regions() {
            match self.known.get(&peer).filter(|known| known.epoch >= epoch) {
                Some(known) => frontiers.push(&known.frontier),
                None => return false,
            }
        }
        let mut ends = Frontier::new();
        for frontier in &frontiers {
            let of_it = |log: &LogId| log.group == group && log.origin.region == origin;
            for (log, seq) in frontier.iter().filter(|(log, _)| of_it(log)) {
                let end = ends.entry(*log).or_insert(0);
                *end = (*end).max(*seq);
            }
        }
        frontiers.iter().all(|frontier| covers(frontier, &ends))
    }
}
