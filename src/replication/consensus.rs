//! Agreement on one value per epoch among a majority: single-decree Paxos (Lamport, "Paxos Made Simple", 2001).
//!
//! Sans-IO: messages in, steps out. What is decided is the record of the members at the next epoch, so each
//! epoch is decided once, by the voters of the epoch before; this value knows neither what it decides nor who
//! carries the messages.
//!
//! - A promise or an acceptance is durable before it is answered ([`Step::Save`], [`Consensus::saved`]). A proposer
//!   makes its own promise durable before it asks anyone, so no ballot is ever used twice.
//! - A promise endorses what the proposer intends: a voter that knows better declines. So whatever is accepted was
//!   endorsed by a majority first; acceptance asks no more, or a value that may be decided already could be
//!   stuck.
//! - A proposer that finds a value accepted already goes on with that one. A voter that has accepted a value and
//!   hears no decision for a while proposes, intending nothing, to finish it.
//! - A voter whose disk forgot what it promised and accepted asks the others first, as a proposer who intends nothing:
//!   of so many that every majority it was part of has one of them ([`Consensus::recover`]). What they are bound to
//!   it is bound to from then on, and what they have accepted it finishes. Meanwhile it promises and accepts nothing;
//!   to another that asks so it says that it does not remember either, and when all have answered, nobody knows more.
//! - Lost, late, repeated and reordered messages cost time only.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bincode::{Decode, Encode};

use crate::clock::RegionId;
use crate::replica::mutation::GroupId;
pub use crate::replica::vote::{Ballot, Vote};

/// How long an answer is waited for before it is asked for again.
pub const ASK_US: u64 = 1_000_000;
/// How long a proposer that was beaten waits, times its place among the voters and how often it was: so that
/// two do not beat each other for ever.
pub const BACKOFF_US: u64 = 300_000;
/// The most that this grows to.
const BACKOFFS_MAX: u64 = 8;
/// How far above every ballot that it hears of a voter asks that forgot what it promised: what is still on its way
/// to it is of an older ballot.
const RECOVERY_ROUNDS: u64 = 1 << 20;
/// How long such a one waits for an answer before it asks again: its region serves nobody meanwhile.
const RECOVERY_ASK_US: u64 = 200_000;
/// How long a voter that has accepted a value waits for its decision before it sees to it itself.
pub const FINISH_US: u64 = 5_000_000;

/// What one voter says to another, of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message<I, V> {
    /// Asks for a promise. Intending nothing is to finish what others began.
    Prepare {
        ballot: Ballot,
        intent: Option<I>,
    },
    /// Promises, and says what was accepted before.
    Promise {
        ballot: Ballot,
        accepted: Option<(Ballot, V)>,
    },
    /// Will not promise: what is intended is not right here. To a proposer who intends nothing: does not remember.
    Decline {
        ballot: Ballot,
    },
    /// Neither promises nor accepts: bound to this greater ballot.
    Refuse {
        ballot: Ballot,
        promised: Ballot,
    },
    Accept {
        ballot: Ballot,
        value: V,
    },
    Accepted {
        ballot: Ballot,
    },
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<I, V> {
    /// Make this durable, in the order given, then call [`Consensus::saved`].
    Save(Vote<V>),
    Send(RegionId, Message<I, V>),
    /// A majority has accepted this: it is so, and can never be otherwise.
    Decided(V),
    /// What was proposed here comes to nothing for now.
    Abandoned(Why),
}

/// Why a proposal came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// These would not have it, and without them there is no majority.
    Declined(BTreeSet<RegionId>),
    /// Another proposal went before.
    Beaten,
}

/// Whom an answer is for once the vote behind it is durable.
#[derive(Clone, Debug)]
enum Pending<I, V> {
    Answer(RegionId, Message<I, V>),
    /// The proposer's own promise: now the others are asked.
    Ask(Ballot),
}

/// One's own proposal.
#[derive(Clone, Debug)]
struct Proposal<I, V> {
    ballot: Ballot,
    intent: Option<I>,
    value: Option<V>,
    quorum: usize,
    promises: BTreeMap<RegionId, Option<(Ballot, V)>>,
    declined: BTreeSet<RegionId>,
    /// What is to be accepted, once a majority has promised, and who has.
    chosen: Option<V>,
    accepted: BTreeSet<RegionId>,
    asked_us: u64,
}

/// A voter and proposer.
#[derive(Debug)]
pub struct Consensus<I, V> {
    us: RegionId,
    voters: GroupId,
    /// As it will be when all saves that were asked for are done.
    vote: Vote<V>,
    /// In the order of the saves.
    pending: VecDeque<Pending<I, V>>,
    /// Saves under way of epochs before this one.
    stale_saves: usize,
    proposal: Option<Proposal<I, V>>,
    /// The greatest ballot heard of.
    highest: Ballot,
    beaten: u64,
    not_before_us: u64,
    accepted_us: Option<u64>,
    decided: bool,
    /// What it was bound to may be lost.
    recovering: bool,
}

impl<I: Clone, V: Clone> Consensus<I, V> {
    /// Begins with what the store has; of another epoch than `epoch`, it says nothing.
    pub fn new(us: RegionId, epoch: u64, voters: GroupId, stored: Option<Vote<V>>) -> Self {
        let vote = stored.filter(|vote| vote.epoch == epoch);
        let vote = vote.unwrap_or_else(|| Vote::new(epoch));
        Consensus {
            us,
            voters,
            highest: vote.promised,
            vote,
            pending: VecDeque::new(),
            stale_saves: 0,
            proposal: None,
            beaten: 0,
            not_before_us: 0,
            accepted_us: None,
            decided: false,
            recovering: false,
        }
    }

    /// What this voter was bound to may be lost: it asks the others before it answers any.
    pub fn recover(&mut self) {
        self.recovering = self.voters.contains(self.us);
        self.proposal = None;
    }

    /// It goes on, whatever it was bound to.
    pub fn stop_recovering(&mut self) {
        self.recovering = false;
        self.proposal = None;
    }

    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// The record of the epoch that was to be decided is known: on to the next.
    pub fn move_on(&mut self, epoch: u64, voters: GroupId) {
        if epoch == self.vote.epoch {
            return;
        }
        let saves = self.stale_saves + self.pending.len();
        // It may have voted on this one too.
        let recovering = self.recovering && voters.contains(self.us);
        *self = Consensus::new(self.us, epoch, voters, None);
        (self.stale_saves, self.recovering) = (saves, recovering);
    }

    /// The epoch whose record is decided next.
    pub fn epoch(&self) -> u64 {
        self.vote.epoch
    }

    /// Whether something is proposed here at present.
    pub fn is_proposing(&self) -> bool {
        self.proposal.is_some()
    }

    /// Proposes `value`, which `intent` leads to. Ignored while something is proposed already or an earlier
    /// proposal was beaten lately: ask again as long as it is wanted. `quorum` is a majority of the voters,
    /// unless a person takes it upon themselves to say otherwise.
    pub fn propose(
        &mut self,
        now_us: u64,
        what: Option<(I, V)>,
        quorum: usize,
        out: &mut Vec<Step<I, V>>,
    ) {
        let may = self.voters.contains(self.us) && !self.decided;
        if !may || self.proposal.is_some() || now_us < self.not_before_us {
            return;
        }
        let above = if self.recovering { RECOVERY_ROUNDS } else { 1 };
        let known = self.highest.max(self.vote.promised);
        let ballot = Ballot {
            round: known.round.saturating_add(above),
            region: self.us,
        };
        let (intent, value) = what.unzip();
        self.highest = ballot;
        self.vote.promised = ballot;
        let own = self.vote.accepted.clone();
        self.proposal = Some(Proposal {
            ballot,
            intent,
            value,
            quorum,
            promises: BTreeMap::from([(self.us, own)]),
            declined: BTreeSet::new(),
            chosen: None,
            accepted: BTreeSet::new(),
            asked_us: now_us,
        });
        self.save(Pending::Ask(ballot), out);
    }

    /// A majority of the voters.
    pub fn majority(&self) -> usize {
        self.voters.regions().count() / 2 + 1
    }

    /// So many of the others that every majority has one of them.
    pub fn recovery_quorum(&self) -> usize {
        let others = self.voters.without(self.us).regions().count();
        (self.voters.regions().count() + 1 - self.majority()).min(others)
    }

    fn save(&mut self, pending: Pending<I, V>, out: &mut Vec<Step<I, V>>) {
        self.pending.push_back(pending);
        out.push(Step::Save(self.vote.clone()));
    }

    /// The oldest save that is under way is done, or was refused: then nobody hears of it.
    pub fn saved(&mut self, now_us: u64, ok: bool, out: &mut Vec<Step<I, V>>) {
        if self.stale_saves > 0 {
            self.stale_saves -= 1;
            return;
        }
        match self.pending.pop_front() {
            Some(Pending::Answer(to, message)) if ok => self.send(now_us, to, message, out),
            Some(Pending::Ask(ballot)) if self.is_at(ballot) => {
                if ok {
                    self.ask(now_us, out);
                    self.count_promises(now_us, out);
                } else {
                    self.proposal = None;
                }
            }
            _ => {}
        }
    }

    fn is_at(&self, ballot: Ballot) -> bool {
        self.proposal.as_ref().is_some_and(|p| p.ballot == ballot)
    }

    /// To another voter, or to this one itself.
    fn send(
        &mut self,
        now_us: u64,
        to: RegionId,
        message: Message<I, V>,
        out: &mut Vec<Step<I, V>>,
    ) {
        if to == self.us {
            let epoch = self.vote.epoch;
            self.heard(now_us, self.us, epoch, message, |_| true, out);
        } else {
            out.push(Step::Send(to, message));
        }
    }

    /// Asks those who have not answered.
    fn ask(&mut self, now_us: u64, out: &mut Vec<Step<I, V>>) {
        let Some(proposal) = &mut self.proposal else {
            return;
        };
        proposal.asked_us = now_us;
        let ballot = proposal.ballot;
        let (message, answered): (_, BTreeSet<RegionId>) = match &proposal.chosen {
            None => {
                let intent = proposal.intent.clone();
                let mut answered: BTreeSet<RegionId> = proposal.promises.keys().copied().collect();
                if intent.is_some() {
                    answered.extend(&proposal.declined);
                }
                (Message::Prepare { ballot, intent }, answered)
            }
            Some(value) => {
                let value = value.clone();
                (Message::Accept { ballot, value }, proposal.accepted.clone())
            }
        };
        for voter in self.voters.regions().filter(|v| !answered.contains(v)) {
            self.send(now_us, voter, message.clone(), out);
        }
    }

    /// A voter says something of the epoch that is decided next here; what is of another is nobody's business.
    /// `endorses` says whether what is intended is right here.
    pub fn heard(
        &mut self,
        now_us: u64,
        from: RegionId,
        epoch: u64,
        message: Message<I, V>,
        endorses: impl Fn(&I) -> bool,
        out: &mut Vec<Step<I, V>>,
    ) {
        let known = self.voters.contains(from) && self.voters.contains(self.us);
        if epoch != self.vote.epoch || !known || self.decided {
            return;
        }
        match message {
            Message::Prepare { .. } | Message::Accept { .. }
                if self.recovering && from != self.us =>
            {
                if let Message::Prepare {
                    ballot,
                    intent: None,
                } = message
                {
                    self.send(now_us, from, Message::Decline { ballot }, out);
                }
            }
            Message::Prepare { ballot, intent } => {
                let fine = intent.as_ref().is_none_or(endorses);
                self.on_prepare(now_us, from, ballot, fine, out);
            }
            Message::Accept { ballot, value } => self.on_accept(now_us, from, ballot, value, out),
            Message::Promise { ballot, accepted } => {
                if let Some(proposal) = self.proposal.as_mut().filter(|p| p.ballot == ballot) {
                    proposal.declined.remove(&from);
                    proposal.promises.insert(from, accepted);
                    self.count_promises(now_us, out);
                }
            }
            Message::Decline { ballot } => {
                if let Some(proposal) = self.proposal.as_mut().filter(|p| p.ballot == ballot) {
                    proposal.declined.insert(from);
                    if self.recovering {
                        self.count_promises(now_us, out);
                    } else {
                        self.count_declined(now_us, out);
                    }
                }
            }
            Message::Refuse { ballot, promised } => {
                self.highest = self.highest.max(promised);
                if self.is_at(ballot) {
                    self.abandon(now_us, Why::Beaten, out);
                }
            }
            Message::Accepted { ballot } => self.on_accepted(from, ballot, out),
        }
    }

    fn on_prepare(
        &mut self,
        now_us: u64,
        from: RegionId,
        ballot: Ballot,
        fine: bool,
        out: &mut Vec<Step<I, V>>,
    ) {
        self.highest = self.highest.max(ballot);
        let promised = self.vote.promised;
        if ballot < promised {
            return self.send(now_us, from, Message::Refuse { ballot, promised }, out);
        }
        if !fine {
            return self.send(now_us, from, Message::Decline { ballot }, out);
        }
        self.vote.promised = ballot;
        let accepted = self.vote.accepted.clone();
        let promise = Message::Promise { ballot, accepted };
        self.save(Pending::Answer(from, promise), out);
    }

    fn on_accept(
        &mut self,
        now_us: u64,
        from: RegionId,
        ballot: Ballot,
        value: V,
        out: &mut Vec<Step<I, V>>,
    ) {
        self.highest = self.highest.max(ballot);
        let promised = self.vote.promised;
        if ballot < promised {
            return self.send(now_us, from, Message::Refuse { ballot, promised }, out);
        }
        self.vote.promised = ballot;
        self.vote.accepted = Some((ballot, value));
        self.accepted_us = Some(now_us);
        self.save(Pending::Answer(from, Message::Accepted { ballot }), out);
    }

    /// Whether so many have promised that nothing can be decided without what they know.
    fn is_promised(&self, proposal: &Proposal<I, V>) -> bool {
        let promises = proposal.promises.len();
        if !self.recovering {
            return promises >= proposal.quorum;
        }
        let all_answered = promises + proposal.declined.len() >= self.voters.regions().count();
        all_answered || promises > self.recovery_quorum()
    }

    /// With promises of a majority, the value of the greatest ballot among what they have accepted is to be
    /// accepted; if there is none, one's own.
    fn count_promises(&mut self, now_us: u64, out: &mut Vec<Step<I, V>>) {
        let enough = self.proposal.as_ref().is_some_and(|p| self.is_promised(p));
        let Some(proposal) = self.proposal.as_mut().filter(|_| enough) else {
            return;
        };
        if proposal.chosen.is_some() {
            return;
        }
        let accepted = proposal.promises.values().flatten();
        let newest = accepted.max_by_key(|(ballot, _)| *ballot);
        let value = newest.map(|(_, value)| value.clone());
        proposal.chosen = value.or_else(|| proposal.value.clone());
        if proposal.chosen.is_none() {
            // There was nothing to finish.
            self.proposal = None;
            self.recovering = false;
            return;
        }
        self.ask(now_us, out);
    }

    fn count_declined(&mut self, now_us: u64, out: &mut Vec<Step<I, V>>) {
        let Some(proposal) = &self.proposal else {
            return;
        };
        let left = self.voters.regions().count() - proposal.declined.len();
        if left < proposal.quorum {
            let why = Why::Declined(proposal.declined.clone());
            self.abandon(now_us, why, out);
        }
    }

    fn abandon(&mut self, now_us: u64, why: Why, out: &mut Vec<Step<I, V>>) {
        self.proposal = None;
        self.beaten = (self.beaten + 1).min(BACKOFFS_MAX);
        let place = self.voters.regions().take_while(|v| *v != self.us).count();
        let place = u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
        let wait_us = BACKOFF_US.saturating_mul(place).saturating_mul(self.beaten);
        self.not_before_us = now_us.saturating_add(wait_us);
        out.push(Step::Abandoned(why));
    }

    fn on_accepted(&mut self, from: RegionId, ballot: Ballot, out: &mut Vec<Step<I, V>>) {
        let Some(proposal) = self.proposal.as_mut().filter(|p| p.ballot == ballot) else {
            return;
        };
        let Some(value) = proposal.chosen.clone() else {
            return;
        };
        proposal.accepted.insert(from);
        if proposal.accepted.len() >= proposal.quorum {
            self.proposal = None;
            self.decided = true;
            out.push(Step::Decided(value));
        }
    }

    /// Time has passed: asks again, and finishes what others have left.
    pub fn tick(&mut self, now_us: u64, out: &mut Vec<Step<I, V>>) {
        let since = |at_us: u64| now_us.saturating_sub(at_us);
        if let Some(proposal) = &self.proposal {
            let ballot = proposal.ballot;
            let waits = |p: &Pending<I, V>| matches!(p, Pending::Ask(b) if *b == ballot);
            let patience_us = match self.recovering {
                true => RECOVERY_ASK_US,
                false => ASK_US,
            };
            if since(proposal.asked_us) >= patience_us && !self.pending.iter().any(waits) {
                self.ask(now_us, out);
            }
            return;
        }
        if self.recovering {
            return self.propose(now_us, None, self.majority(), out);
        }
        if self.vote.accepted.is_none() || self.decided {
            return;
        }
        let accepted_us = *self.accepted_us.get_or_insert(now_us);
        if since(accepted_us) >= FINISH_US {
            self.propose(now_us, None, self.majority(), out);
        }
    }
}
