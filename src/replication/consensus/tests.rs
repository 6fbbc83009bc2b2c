use super::*;
use proptest::prelude::*;

type Said = Message<u8, u8>;
type Done = Step<u8, u8>;

const EPOCH: u64 = 2;
const TICK_US: u64 = 50_000;

/// A voter, and what its disk has.
struct Node {
    consensus: Consensus<u8, u8>,
    disk: Option<Vote<u8>>,
    /// Saves under way, oldest first.
    saves: VecDeque<Vote<u8>>,
    /// What it does not endorse.
    against: Option<u8>,
    wants: Option<u8>,
    decided: Vec<u8>,
    abandoned: Vec<Why>,
}

/// Voters and a network that chance rules.
struct World {
    now_us: u64,
    nodes: Vec<Node>,
    flights: Vec<(RegionId, RegionId, Said)>,
    cut: BTreeSet<usize>,
    chance: u64,
    storm: bool,
}

fn voters(count: usize) -> GroupId {
    GroupId::of((0..count).map(region))
}

fn region(at: usize) -> RegionId {
    RegionId(u16::try_from(at).expect("few"))
}

fn at(region: RegionId) -> usize {
    usize::from(region.0)
}

impl World {
    fn new(count: usize, seed: u64) -> World {
        let node = |at| Node {
            consensus: Consensus::new(region(at), EPOCH, voters(count), None),
            disk: None,
            saves: VecDeque::new(),
            against: None,
            wants: None,
            decided: Vec::new(),
            abandoned: Vec::new(),
        };
        World {
            now_us: 0,
            nodes: (0..count).map(node).collect(),
            flights: Vec::new(),
            cut: BTreeSet::new(),
            chance: seed.wrapping_mul(2).wrapping_add(1),
            storm: true,
        }
    }

    /// A xorshift: the same seed, the same world.
    fn below(&mut self, limit: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance % u64::try_from(limit.max(1)).expect("small")).expect("small")
    }

    fn take(&mut self, node: usize, steps: Vec<Done>) {
        for step in steps {
            match step {
                Step::Save(vote) => self.nodes[node].saves.push_back(vote),
                Step::Send(to, message) => self.flights.push((region(node), to, message)),
                Step::Decided(value) => self.nodes[node].decided.push(value),
                Step::Abandoned(why) => self.nodes[node].abandoned.push(why),
            }
        }
    }

    fn save_one(&mut self, node: usize) {
        let now_us = self.now_us;
        let here = &mut self.nodes[node];
        let Some(vote) = here.saves.pop_front() else {
            return;
        };
        here.disk = Some(vote);
        let mut out = Vec::new();
        here.consensus.saved(now_us, true, &mut out);
        self.take(node, out);
    }

    fn deliver_one(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let nth = self.below(self.flights.len());
        let fate = if self.storm { self.below(10) } else { 9 };
        let flight = match fate {
            0 => self.flights[nth].clone(),
            _ => self.flights.swap_remove(nth),
        };
        let (from, to, message) = flight;
        if fate == 1 || self.cut.contains(&at(from)) || self.cut.contains(&at(to)) {
            return;
        }
        let (now_us, mut out) = (self.now_us, Vec::new());
        let here = &mut self.nodes[at(to)];
        let against = here.against;
        let endorses = |intent: &u8| Some(*intent) != against;
        (here.consensus).heard(now_us, from, EPOCH, message, endorses, &mut out);
        self.take(at(to), out);
    }

    fn crash(&mut self, node: usize) {
        let count = self.nodes.len();
        let here = &mut self.nodes[node];
        here.saves.clear();
        let stored = here.disk.clone();
        let recovering = here.consensus.is_recovering();
        here.consensus = Consensus::new(region(node), EPOCH, voters(count), stored);
        if recovering {
            // The others know yet what it lost.
            here.consensus.recover();
        }
    }

    /// Its disk is new.
    fn forget(&mut self, node: usize) {
        self.nodes[node].disk = None;
        self.crash(node);
        self.nodes[node].consensus.recover();
    }

    fn tick(&mut self) {
        self.now_us += TICK_US;
        for node in 0..self.nodes.len() {
            let (now_us, mut out) = (self.now_us, Vec::new());
            let here = &mut self.nodes[node];
            if let Some(value) = here.wants {
                let quorum = here.consensus.majority();
                (here.consensus).propose(now_us, Some((value, value)), quorum, &mut out);
            }
            here.consensus.tick(now_us, &mut out);
            self.take(node, out);
        }
    }

    fn storm(&mut self, steps: usize) {
        for _ in 0..steps {
            let node = self.below(self.nodes.len());
            match self.below(40) {
                0 => self.crash(node),
                1..=4 => self.tick(),
                5..=18 => self.save_one(node),
                _ => self.deliver_one(),
            }
        }
    }

    /// Until nothing is left to do, or for ten seconds.
    fn calm(&mut self) {
        self.storm = false;
        for _ in 0..200 {
            self.tick();
            for _ in 0..200 {
                for node in 0..self.nodes.len() {
                    self.save_one(node);
                }
                self.deliver_one();
            }
        }
    }

    fn decided(&self) -> BTreeSet<u8> {
        self.nodes.iter().flat_map(|n| n.decided.clone()).collect()
    }
}

#[test]
fn a_majority_decides_without_the_rest() {
    let mut world = World::new(3, 1);
    world.cut.insert(2);
    world.nodes[0].wants = Some(7);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
}

#[test]
fn a_minority_decides_nothing() {
    for (count, cut) in [(2, 1), (3, 2), (4, 2), (5, 3)] {
        let mut world = World::new(count, 1);
        world.cut.extend(0..cut);
        world.nodes[count - 1].wants = Some(7);
        world.calm();
        assert_eq!(
            world.decided(),
            BTreeSet::new(),
            "{cut} of {count} are gone"
        );
    }
}

#[test]
fn what_a_majority_does_not_endorse_is_not_decided() {
    let mut world = World::new(3, 1);
    world.nodes[0].wants = Some(7);
    world.nodes[1].against = Some(7);
    world.nodes[2].against = Some(7);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::new());
    let by = BTreeSet::from([RegionId(1), RegionId(2)]);
    assert!(world.nodes[0].abandoned.contains(&Why::Declined(by)));
    // One vote against is no harm.
    world.nodes[1].against = None;
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
}

#[test]
fn what_may_be_decided_is_finished_even_by_those_who_would_not_have_it() {
    let mut world = World::new(3, 1);
    world.storm = false;
    world.nodes[0].wants = Some(7);
    // The proposer dies when another has accepted, before it hears of it.
    while world.nodes[1]
        .disk
        .as_ref()
        .is_none_or(|v| v.accepted.is_none())
    {
        world.tick();
        world.save_one(0);
        world.save_one(1);
        world.deliver_one();
    }
    world.cut.insert(0);
    for node in &mut world.nodes {
        (node.wants, node.against) = (None, Some(7));
    }
    world.nodes[2].wants = Some(9);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
}

#[test]
fn an_accepted_value_is_finished_by_whoever_waits_for_it() {
    let mut world = World::new(3, 1);
    world.storm = false;
    world.nodes[0].wants = Some(7);
    while world.nodes[1]
        .disk
        .as_ref()
        .is_none_or(|v| v.accepted.is_none())
    {
        world.tick();
        world.save_one(0);
        world.save_one(1);
        world.deliver_one();
    }
    world.cut.insert(0);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
}

#[test]
fn a_promise_of_a_disk_that_was_full_is_not_given() {
    let mut out = Vec::new();
    let mut voter: Consensus<u8, u8> = Consensus::new(region(0), EPOCH, voters(3), None);
    let ballot = Ballot {
        round: 1,
        region: region(1),
    };
    let prepare = Message::Prepare {
        ballot,
        intent: Some(1),
    };
    voter.heard(0, region(1), EPOCH, prepare, |_| true, &mut out);
    assert!(matches!(out.as_slice(), [Step::Save(_)]), "{out:?}");
    out.clear();
    voter.saved(0, false, &mut out);
    assert_eq!(out, []);
}

#[test]
fn the_votes_of_an_epoch_are_not_those_of_the_next() {
    let mut out = Vec::new();
    let mut voter: Consensus<u8, u8> = Consensus::new(region(0), EPOCH, voters(3), None);
    voter.propose(0, Some((1, 1)), 2, &mut out);
    voter.move_on(EPOCH + 1, voters(3));
    out.clear();
    voter.saved(0, true, &mut out);
    assert_eq!(out, [], "the save was of the epoch before");
    voter.propose(0, Some((2, 2)), 2, &mut out);
    out.clear();
    voter.saved(0, true, &mut out);
    assert_eq!(out.len(), 2, "{out:?}");
    let old = Message::Accepted {
        ballot: Ballot::ZERO,
    };
    voter.heard(0, region(1), EPOCH, old, |_| true, &mut out);
    assert_eq!(voter.epoch(), EPOCH + 1);
}

#[test]
fn a_voter_that_forgot_asks_before_it_answers() {
    let mut world = World::new(3, 1);
    world.storm = false;
    world.nodes[0].wants = Some(7);
    world.cut.insert(2);
    while world.decided().is_empty() {
        world.tick();
        world.save_one(0);
        world.save_one(1);
        world.deliver_one();
    }
    // Of those who accepted it one forgets, and the other is not heard.
    world.forget(1);
    world.cut = BTreeSet::from([0]);
    world.nodes[2].wants = Some(9);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
    assert!(world.nodes[1].consensus.is_recovering());
    // The first has died meanwhile, and hears of no decision.
    world.cut.clear();
    world.nodes[0].wants = None;
    world.crash(0);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
    assert_eq!(world.nodes[1].decided, [7], "it saw to it");
}

#[test]
fn voters_that_all_forgot_tell_each_other_so() {
    let mut world = World::new(5, 1);
    (0..5).for_each(|node| world.forget(node));
    world.calm();
    let recovering = |n: &Node| n.consensus.is_recovering();
    assert!(!world.nodes.iter().any(recovering));
    world.nodes[3].wants = Some(7);
    world.calm();
    assert_eq!(world.decided(), BTreeSet::from([7]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Dueling proposers, lost and repeated messages, crashes: what is decided is one value, and in the calm
    /// that follows something is.
    #[test]
    fn one_value_is_decided_whatever_happens(
        seed in any::<u64>(), count in 1usize..6, steps in 0usize..600,
        wants in prop::collection::vec(prop::option::of(0u8..4), 6), forgets in any::<bool>(),
    ) {
        let mut world = World::new(count, seed);
        for (node, want) in world.nodes.iter_mut().zip(&wants) {
            node.wants = *want;
        }
        world.nodes[0].wants = Some(9);
        world.storm(steps / 2);
        // One may forget what it was bound to.
        if count > 2 && forgets {
            world.forget(count - 1);
        }
        world.storm(steps - steps / 2);
        let before = world.decided();
        prop_assert!(before.len() <= 1, "{before:?}");
        world.calm();
        let after = world.decided();
        prop_assert!(after.len() == 1, "{after:?}");
        prop_assert!(before.is_subset(&after));
        let wanted: BTreeSet<u8> = world.nodes.iter().filter_map(|n| n.wants).collect();
        prop_assert!(after.is_subset(&wanted), "{after:?} of {wanted:?}");
    }
}
