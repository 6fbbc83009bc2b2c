//! Members that lapse, and come back.

use super::*;
use crate::replica::manifest::Change;
use crate::store::{MemStore, Store};

#[test]
fn a_wipe_that_a_full_disk_refused_is_asked_for_again() {
    let mut config = config(0);
    let lapse = Change::Lapse {
        region: RegionId(0),
    };
    config.manifest = Arc::new(config.manifest.propose(&lapse).expect("legal"));
    config.lacks.wiping = true;
    let mut replicator = Replicator::new(config, Frontier::from([(log_of(0), 1)]));
    // Nothing in it says that a wipe has begun.
    let store = MemStore::new();
    let mut asks_at = |second: u64| {
        let now = Now {
            wall_us: second * 1_000_000,
            mono_us: second * 1_000_000,
        };
        let txn = store.begin_read().expect("in memory");
        let mut actions = Vec::new();
        let stepped = replicator.step(now, &*txn, Event::Tick, &mut actions);
        stepped.expect("in memory");
        actions.iter().any(|a| matches!(a, Action::Wipe(_)))
    };
    assert!(asks_at(1));
    assert!(!asks_at(2), "a moment later");
    assert!(asks_at(10));
}

fn changed(changes: &[Change]) -> Arc<Manifest> {
    let founding = Manifest::of([1; 16], MEMBERS);
    let next = |manifest: Manifest, change| manifest.propose(change).expect("legal");
    Arc::new(changes.iter().fold(founding, next))
}

/// Their readings had drawn the line; alone with another, nobody can say whose clock is wrong. Nor can one that lapsed.
#[test]
fn a_fence_is_lifted_when_too_few_members_are_left_to_judge() {
    for lapses in [2, 0] {
        let mut world = World::new(3);
        world.ahead_us = 10 * MAX_OFFSET_US;
        let mut world = world.connect();
        world.run_ms(3_000);
        let now = Now {
            wall_us: world.now_us + world.ahead_us,
            mono_us: world.now_us,
        };
        let fenced = |line: Option<&FenceLine>| line.and_then(|line| line.ahead_us(now)).is_some();
        assert!(fenced(world.fences.last()));
        let region = RegionId(lapses);
        world.step(0, Event::Members(changed(&[Change::Lapse { region }])));
        world.run_ms(50);
        assert!(!fenced(world.fences.last()), "{region} lapsed");
    }
}

fn at_second(physical: u64, region: u16) -> Stamp {
    Stamp {
        physical_us: physical * 1_000_000,
        logical: 0,
        region: RegionId(region),
    }
}

/// What is stable may be as far as the clock of the region that was never away.
#[test]
fn two_that_join_at_once_do_not_take_each_other_for_the_measure() {
    let (one, two) = (RegionId(1), RegionId(2));
    let members = changed(&[
        Change::Lapse { region: one },
        Change::Lapse { region: two },
        Change::Return { region: one },
        Change::Return { region: two },
    ]);
    let mut world = World::new(3);
    for at in 0..3 {
        world.step(at, Event::Members(Arc::clone(&members)));
    }
    let mut world = world.connect();
    let mut words_at = |second: u64| {
        for (at, second) in [(0, 100), (1, second), (2, second)] {
            let frontier = world.frontier(at);
            world.step(at, Event::Durable(frontier, at_second(second, at)));
        }
        world.run_ms(1_000);
        [1, 2].map(|at| world.nodes[at].replicator.own_watermark())
    };
    assert_eq!(words_at(50), [Stamp::MIN; 2]);
    assert_eq!(words_at(101), [at_second(101, 1), at_second(101, 2)]);
}
