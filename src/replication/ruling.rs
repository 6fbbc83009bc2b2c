//! What the voters decide about the members, each next record by a majority (`consensus`): that a member has lapsed,
//! that one that lapsed comes back, that one that joins has everything.
//!
//! Whoever sees a reason proposes; a voter endorses what it sees a reason for itself. So a member lapses when a
//! majority has not heard it for long, and a minority, to which most members are silent, can lapse nobody. Of
//! two members none is a majority without the other: there only a person may say that one has lapsed.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::consensus::{ASK_US, Consensus, Message as Said, Step, Why};
use super::life::covers;
use super::replicator::{Replicator, Scene};
use super::wire::Message;
use super::{Action, Lane};
use crate::clock::RegionId;
use crate::replica::PlantedBug;
use crate::replica::manifest::{Change, Manifest, State};
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::vote::MemberVote;

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

/// The voter in this region.
#[derive(Debug)]
pub(super) struct Council {
    consensus: Consensus<Intent, Vec<u8>>,
    /// What was decided here, and when the store was last told: it may have had no room for it.
    decided: Option<(Arc<Manifest>, u64)>,
    /// Why the last proposal of this region came to nothing.
    trouble: Option<String>,
}

impl Council {
    pub fn new(us: RegionId, manifest: &Manifest, stored: Option<MemberVote>) -> Self {
        let (epoch, voters) = (manifest.epoch.saturating_add(1), manifest.voters());
        Council {
            consensus: Consensus::new(us, epoch, voters, stored),
            decided: None,
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
        (self.decided, self.trouble) = (None, None);
    }

    /// What this voter was bound to may be lost.
    pub fn recover(&mut self) {
        self.consensus.recover();
    }

    pub fn stop_recovering(&mut self) {
        self.consensus.stop_recovering();
    }

    pub fn is_recovering(&self) -> bool {
        self.consensus.is_recovering()
    }

    /// So many of the other voters that every majority has one of them.
    pub fn recovery_quorum(&self) -> usize {
        self.consensus.recovery_quorum()
    }
}

impl Replicator {
    /// Why what was last proposed here came to nothing, for people.
    pub fn ruling_trouble(&self) -> Option<&str> {
        self.council.trouble.as_deref()
    }

    /// Proposes what there is a reason for.
    pub(super) fn rule(&mut self, scene: &mut Scene<'_>) {
        let now_us = scene.now.mono_us;
        if let Some((next, told_us)) = &mut self.council.decided
            && now_us.saturating_sub(*told_us) >= ASK_US
        {
            *told_us = now_us;
            scene.out.push(Action::Adopt(Arc::clone(next)));
        }
        let mut steps = Vec::new();
        self.council.consensus.tick(now_us, &mut steps);
        self.take_steps(scene, steps);
        let consensus = &self.council.consensus;
        if consensus.is_proposing() || consensus.is_recovering() {
            return;
        }
        let Some(intent) = self.intent() else {
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

    /// Whether there is a reason for it here too.
    fn endorses(&self, intent: &Intent) -> bool {
        let legal = self.config.manifest.propose(&intent.change).is_ok();
        let us = self.config.region;
        let fine = match intent.change {
            Change::Lapse { region } if region == us => false,
            // The log may be full elsewhere only.
            Change::Lapse { region } => self.may_lapse(region, intent.cause),
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
                            let by: Vec<String> = by.iter().map(|r| self.member_name(*r)).collect();
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
                let next = Arc::new(next);
                self.council.decided = Some((Arc::clone(&next), scene.now.mono_us));
                scene.out.push(Action::Adopt(next));
            }
            Ok(_) => {}
            Err(error) => self.council.trouble = Some(error.to_string()),
        }
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
