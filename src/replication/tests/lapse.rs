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

/// Their readings had drawn the line; alone with another, nobody can say whose clock is wrong.
#[test]
fn a_fence_is_lifted_when_too_few_members_are_left_to_judge() {
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
    let region = RegionId(2);
    world.step(0, Event::Members(changed(&[Change::Lapse { region }])));
    world.run_ms(3_000);
    assert!(!fenced(world.fences.last()));
}
