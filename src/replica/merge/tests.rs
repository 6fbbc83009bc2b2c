//! Histories of writes made in several regions, which hear of each other's late, more than once and in any order:
//! what they come to is held against a fold of the writes themselves.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::edit::Edit;
use super::meet::losses;
use super::{Mark, State};
use crate::clock::{RegionId, Stamp};
use crate::expression::{Path, SetOperand, SetValue, Update};
use crate::item::{Item, Number, Value};
use crate::replica::mutation::{Dot, GroupId, LogId, Origin, Rank, RankKind, Version};
use crate::replica::record::Record;

const REGIONS: u16 = 3;
const KEY: &str = "pk";
const NAMES: [&str; 2] = ["a", "b"];

fn names() -> Vec<String> {
    vec![KEY.to_owned()]
}

fn number(value: i64) -> Value {
    Value::N(Number::from(value))
}

fn item(attributes: &BTreeMap<&'static str, Value>) -> Item {
    let key = (KEY.to_owned(), Value::S("k".into()));
    let rest = attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    std::iter::once(key).chain(rest).collect()
}

fn path(name: &str) -> Path {
    Path {
        root: name.into(),
        steps: Vec::new(),
    }
}

fn origin(region: u16) -> Origin {
    Origin {
        region: RegionId(region),
        incarnation: 1,
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Put(BTreeMap<&'static str, Value>),
    Delete,
    Expire,
    Set(&'static str, Option<Value>),
    Add(&'static str, i64),
    Touch,
}

#[derive(Clone, Debug)]
enum Step {
    Write(u16, Kind),
    /// A region hears of a write that was made before.
    Hear(u16, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(&NAMES[..]);
    let value = || prop_oneof![(0i64..9).prop_map(number), Just(Value::S("text".into()))];
    let kind = prop_oneof![
        1 => prop::collection::btree_map(name(), value(), 0..3).prop_map(Kind::Put),
        1 => Just(Kind::Delete),
        1 => Just(Kind::Expire),
        2 => (name(), prop::option::of(value())).prop_map(|(name, value)| Kind::Set(name, value)),
        5 => (name(), -5i64..9).prop_map(|(name, by)| Kind::Add(name, by)),
        1 => Just(Kind::Touch),
    ];
    let region = || 0..REGIONS;
    prop_oneof![
        3 => (region(), kind).prop_map(|(region, kind)| Step::Write(region, kind)),
        2 => (region(), any::<usize>()).prop_map(|(region, write)| Step::Hear(region, write)),
    ]
}

/// A write as it was made: what its region had heard of, and the state that it made.
#[derive(Clone, Debug)]
struct Made {
    region: u16,
    kind: Kind,
    version: Version,
    seen: BTreeSet<usize>,
    /// The version of a deletion or expiry that an update found.
    found_gone: Option<Version>,
    state: State,
}

#[derive(Default)]
struct World {
    states: [Option<State>; REGIONS as usize],
    seen: [BTreeSet<usize>; REGIONS as usize],
    made: Vec<Made>,
}

impl World {
    fn run(steps: &[Step]) -> World {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Write(region, kind) => world.write(*region, kind.clone()),
                Step::Hear(region, write) => {
                    if let Some(write) = write.checked_rem(world.made.len()) {
                        world.hear(*region, write);
                    }
                }
            }
        }
        world
    }

    fn hear(&mut self, region: u16, write: usize) {
        let at = usize::from(region);
        let state = &self.made[write].state;
        let joined = match &self.states[at] {
            None => state.clone(),
            Some(here) => here.join(state),
        };
        self.states[at] = Some(joined);
        // A version brings all that its writer knew of; an expiry says only that one version is over.
        if !matches!(self.made[write].kind, Kind::Expire) {
            let known = self.made[write].seen.clone();
            self.seen[at].extend(known);
        }
        self.seen[at].insert(write);
    }

    fn write(&mut self, region: u16, kind: Kind) {
        let count = u64::try_from(self.made.len()).unwrap() + 1;
        let issued = Stamp {
            physical_us: count,
            logical: 0,
            region: RegionId(region),
        };
        let log = LogId {
            group: GroupId(7),
            origin: origin(region),
        };
        let dot = Dot { log, seq: count };
        let before = self.states[usize::from(region)].clone();
        let there = before.as_ref().and_then(State::item);
        let mut rank = Rank {
            stamp: issued,
            kind: RankKind::Write,
        };
        if let Kind::Expire = kind {
            let Some(before) = before.as_ref().filter(|_| there.is_some()) else {
                return;
            };
            rank = Rank {
                stamp: before.version.rank.stamp,
                kind: RankKind::Expire,
            };
        }
        let version = Version { rank, dot, issued };
        let state = match &kind {
            Kind::Put(attributes) => State::whole(version, Some(item(attributes)), &names()),
            Kind::Delete | Kind::Expire => State::whole(version, None, &names()),
            Kind::Set(..) | Kind::Add(..) | Kind::Touch => {
                let Some(update) = update(&kind) else { return };
                let old = there.clone().unwrap_or_default();
                let Ok((after, _)) = update.apply(&old, &item(&BTreeMap::new())) else {
                    return; // An addition to what is no number.
                };
                if there.is_none() && !update.creates_item() {
                    return;
                }
                let edit = Edit::of(&update, item(&BTreeMap::new()), &after);
                let made = edit.apply(before.as_ref(), origin(region), dot, issued);
                assert_eq!(
                    made.item(),
                    Some(after),
                    "the item that was planned is made"
                );
                made
            }
        };
        let gone = before
            .filter(|_| there.is_none())
            .map(|state| state.version);
        let seen = self.seen[usize::from(region)].clone();
        self.made.push(Made {
            region,
            kind,
            version,
            seen,
            found_gone: gone,
            state,
        });
        self.hear(region, self.made.len() - 1);
    }
}

fn update(kind: &Kind) -> Option<Update> {
    let mut update = Update::default();
    match kind {
        Kind::Set(name, Some(value)) => {
            let value = SetValue::Operand(SetOperand::Value(value.clone()));
            update.set.push((path(name), value));
        }
        Kind::Set(name, None) => update.remove.push(path(name)),
        Kind::Add(name, by) => update.add.push((path(name), number(*by))),
        Kind::Touch => {}
        Kind::Put(_) | Kind::Delete | Kind::Expire => return None,
    }
    Some(update)
}

/// What an attribute was assigned last among `writes`, and when; `None` = never.
fn assigned(writes: &[&Made], name: &str) -> Option<(Rank, Option<Value>)> {
    let one = |made: &&Made| match &made.kind {
        Kind::Put(attributes) => Some((made.version.rank, attributes.get(name).cloned())),
        Kind::Delete => Some((made.version.rank, None)),
        Kind::Set(at, value) if *at == name => Some((made.version.rank, value.clone())),
        Kind::Expire => None,
        _ => made.found_gone.map(|gone| (gone.rank, None)),
    };
    let gone = |made: &&Made| {
        let update = matches!(made.kind, Kind::Set(..));
        made.found_gone
            .filter(|_| update)
            .map(|gone| (gone.rank, None))
    };
    let all = writes.iter().filter_map(one);
    let all = all.chain(writes.iter().filter_map(gone));
    all.max_by_key(|(rank, _)| *rank)
}

/// What all the writes come to: told by the writes alone, not by what regions made of them.
fn fold(made: &[Made]) -> Option<Item> {
    let newest = made.iter().max_by_key(|made| made.version.rank)?;
    if matches!(newest.kind, Kind::Delete | Kind::Expire) {
        return None;
    }
    let all: Vec<&Made> = made.iter().collect();
    let mut attributes = BTreeMap::new();
    for name in NAMES {
        let last = assigned(&all, name);
        let (rank, value) = last.map_or((None, None), |(rank, value)| (Some(rank), value));
        let mut added = None;
        for region in 0..REGIONS {
            let mut since: Option<Rank> = None;
            for made in made.iter().filter(|made| made.region == region) {
                let Kind::Add(at, by) = &made.kind else {
                    continue;
                };
                if *at != name {
                    continue;
                }
                let mut seen: Vec<&Made> = made.seen.iter().map(|write| all[*write]).collect();
                seen.push(made);
                let found = assigned(&seen, name).map(|(rank, _)| rank);
                if since.is_none_or(|since| Some(since) <= found) {
                    since = Some(made.version.rank);
                }
                if since > rank {
                    added = Some(added.unwrap_or(0) + by);
                }
            }
        }
        let value = match (value, added) {
            (value, None) => value,
            (None, Some(added)) => Some(number(added)),
            (Some(Value::N(n)), Some(added)) => {
                Some(Value::N(n.checked_add(Number::from(added)).unwrap()))
            }
            (text, Some(_)) => text,
        };
        attributes.extend(value.map(|value| (name, value)));
    }
    Some(item(&attributes))
}

fn joined<'a>(states: impl Iterator<Item = &'a State>) -> Option<State> {
    states.fold(None, |all: Option<State>, state| {
        Some(all.map_or_else(|| state.clone(), |all| all.join(state)))
    })
}

fn round_trip(state: &State) -> State {
    let form = state.form().unwrap();
    let record = Record {
        version: state.version,
        partition: b"Sk",
        image: form.image.as_deref(),
        marks: form.marks.as_deref(),
    };
    let bytes = record.encode();
    State::read(&Record::decode(&bytes).unwrap(), &names()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_the_order_all_come_to_the_fold_of_the_writes(
        steps in vec(step(), 1..30),
        orders in vec(vec(any::<u16>(), 60), 3),
    ) {
        let world = World::run(&steps);
        let expected = fold(&world.made);
        let mut finals = Vec::new();
        for order in &orders {
            // Everything at least once, some of it twice.
            let mut writes: Vec<usize> = (0..world.made.len()).collect();
            let twice = order.iter().take(10);
            writes.extend(twice.filter_map(|at| usize::from(*at).checked_rem(world.made.len())));
            writes.sort_by_key(|at| order[*at % order.len()].wrapping_mul(31) ^ u16::try_from(*at).unwrap());
            finals.push(joined(writes.iter().map(|at| &world.made[*at].state)));
        }
        for state in &finals {
            prop_assert_eq!(state.as_ref().and_then(State::item), expected.clone());
            prop_assert_eq!(state, &finals[0]);
        }
        // Also with what regions have made of them since.
        let here = world.states.iter().flatten();
        let all = joined(world.made.iter().map(|made| &made.state).chain(here));
        prop_assert_eq!(&all, &finals[0]);
    }

    #[test]
    fn joins_are_a_semilattice_and_states_survive_their_form(steps in vec(step(), 1..30)) {
        let world = World::run(&steps);
        let made: Vec<&State> = world.made.iter().map(|made| &made.state).collect();
        let states = world.states.iter().flatten().chain(made);
        let states: Vec<&State> = states.take(5).collect();
        for a in &states {
            prop_assert_eq!(&a.join(a), *a);
            prop_assert_eq!(&round_trip(a), *a);
            for b in &states {
                let both = a.join(b);
                prop_assert_eq!(&b.join(a), &both);
                prop_assert_eq!(&a.join(&both), &both);
                prop_assert_eq!(&round_trip(&both), &both);
                for c in &states {
                    prop_assert_eq!(both.join(c), a.join(&b.join(c)));
                }
            }
        }
    }
}

/// Writes of region 0 and region 1 that have not heard of each other.
fn parted(first: Vec<(u16, Kind)>, apart: Vec<(u16, Kind)>) -> World {
    let mut world = World::default();
    for (region, kind) in first {
        world.write(region, kind);
    }
    for write in 0..world.made.len() {
        world.hear(0, write);
        world.hear(1, write);
    }
    for (region, kind) in apart {
        world.write(region, kind);
    }
    world
}

fn lost(world: &World) -> usize {
    let [here, there] = [0, 1].map(|at| world.states[at].clone().unwrap());
    losses(&here, &there).len()
}

fn merged(world: &World) -> Option<Item> {
    let joined = joined(world.states.iter().flatten());
    joined.and_then(|state| state.item())
}

fn with(name: &'static str, value: i64) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([(name, number(value))])
}

#[test]
fn additions_made_apart_all_count_and_lose_nothing() {
    let first = vec![(0, Kind::Put(with("a", 100)))];
    let world = parted(first, vec![(0, Kind::Add("a", 5)), (1, Kind::Add("a", 7))]);
    assert_eq!(merged(&world), Some(item(&with("a", 112))));
    assert_eq!(lost(&world), 0);
}

#[test]
fn attributes_set_apart_both_stay_and_the_same_one_is_a_loss() {
    let set = |name, value| Kind::Set(name, Some(number(value)));
    let world = parted(Vec::new(), vec![(0, set("a", 1)), (1, set("b", 2))]);
    let both = BTreeMap::from([("a", number(1)), ("b", number(2))]);
    assert_eq!(merged(&world), Some(item(&both)));
    assert_eq!(lost(&world), 0);
    let world = parted(Vec::new(), vec![(0, set("a", 1)), (1, set("a", 2))]);
    assert_eq!(merged(&world), Some(item(&with("a", 2))));
    assert_eq!(lost(&world), 1);
}

#[test]
fn an_assignment_replaces_the_additions_that_began_before_it() {
    let set = Kind::Set("a", Some(number(50)));
    let apart = vec![(0, Kind::Add("a", 5)), (1, set), (0, Kind::Add("a", 5))];
    let world = parted(vec![(0, Kind::Put(with("a", 100)))], apart);
    assert_eq!(merged(&world), Some(item(&with("a", 50))));
    assert_eq!(
        lost(&world),
        2,
        "the additions, and what was assigned before"
    );
}

#[test]
fn a_refreshed_item_is_whole_again_after_its_expiry() {
    let both = BTreeMap::from([("a", number(1)), ("b", number(2))]);
    let set = Kind::Set("b", Some(number(9)));
    let world = parted(
        vec![(0, Kind::Put(both))],
        vec![(0, Kind::Expire), (1, set)],
    );
    let refreshed = BTreeMap::from([("a", number(1)), ("b", number(9))]);
    assert_eq!(merged(&world), Some(item(&refreshed)));
}

#[test]
fn an_update_after_an_expiry_begins_anew() {
    let both = BTreeMap::from([("a", number(1)), ("b", number(2))]);
    let world = parted(
        vec![(0, Kind::Put(both))],
        vec![(0, Kind::Expire), (0, Kind::Add("a", 3))],
    );
    assert_eq!(merged(&world), Some(item(&with("a", 3))));
}

#[test]
fn a_sum_that_has_no_room_is_an_assignment() {
    let huge = Value::N(Number::parse(&"9".repeat(38)).unwrap());
    let put = Kind::Put(BTreeMap::from([("a", huge.clone())]));
    let world = parted(vec![(0, put)], Vec::new());
    let before = world.states[0].clone().unwrap();
    let mut update = Update::default();
    update
        .add
        .push((path("a"), Value::N(Number::parse("-0.1").unwrap())));
    assert!(
        update.apply(&before.item().unwrap(), &Item::new()).is_err(),
        "refused, as ever"
    );
    // Two regions add what there is room for in each, and not in both: the one that began last does not count.
    let most = Number::parse(&format!("{}8", "9".repeat(37))).unwrap();
    let put = Kind::Put(BTreeMap::from([("a", Value::N(most))]));
    let world = parted(
        vec![(0, put)],
        vec![(0, Kind::Add("a", 1)), (1, Kind::Add("a", 2))],
    );
    assert_eq!(merged(&world), Some(item(&BTreeMap::from([("a", huge)]))));
}

#[test]
fn marks_of_a_plain_item_are_none() {
    let world = parted(vec![(0, Kind::Put(with("a", 1)))], Vec::new());
    let state = world.states[0].clone().unwrap();
    assert_eq!(state.form().unwrap().marks, None);
    assert_eq!(state.base, Some(Mark::of(state.version)));
}
