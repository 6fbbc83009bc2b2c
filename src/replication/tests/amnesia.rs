//! Regions that lost their disk, or were given an old copy of it.

use super::*;
use crate::replica::manifest::{Change, State};

/// Region 2 was silent for long and lapsed; nobody has told it.
fn world() -> World {
    let mut world = World::new(3);
    world.link(0, 1, true);
    world.write(0, 3, 10);
    world.write(1, 2, 10);
    world.write(2, 4, 10);
    let lapse = Change::Lapse {
        region: RegionId(2),
    };
    let next = Manifest::of([1; 16], MEMBERS).propose(&lapse);
    let next = Arc::new(next.expect("legal"));
    world.step(0, Event::Members(Arc::clone(&next)));
    world.step(1, Event::Members(next));
    world.run_ms(1_000);
    world
}

impl World {
    pub(super) fn lose_disk(&mut self, at: u16) {
        self.nodes[usize::from(at)].shelf = MemShelf::default();
        self.restart(at);
        let mut config = config(at);
        // As its store is after it has begun anew.
        config.origin.incarnation = 1_000;
        config.lacks.newborn = true;
        let node = &mut self.nodes[usize::from(at)];
        node.replicator = Replicator::new(config, Frontier::new());
    }

    fn closed(&self, at: u16) -> Option<String> {
        self.nodes[usize::from(at)].replicator.closed()
    }
}

#[test]
fn an_empty_store_takes_nothing_of_a_lapsed_region_that_it_hears_first() {
    let mut world = world();
    world.lose_disk(1);
    world.link(1, 2, true);
    world.run_ms(30_000);
    assert_eq!(world.has(1, log_of(2)), 0, "it may have lapsed, and it has");
    let closed = world.closed(1).unwrap_or_default();
    assert!(closed.contains("who the members are"), "{closed}");
    world.link(0, 1, true);
    world.run_ms(5_000);
    assert_eq!(world.has(1, log_of(0)), 3, "of two voters one is enough");
    assert_eq!((world.has(1, log_of(1)), world.has(1, log_of(2))), (2, 0));
    let manifest = &world.nodes[1].replicator.config.manifest;
    assert_eq!(manifest.state(RegionId(2)), Some(State::Lapsed));
    assert_eq!(world.closed(1), None);
}

#[test]
fn an_old_copy_takes_nothing_either() {
    let mut world = world();
    world.nodes[1].shelf.0.insert(log_of(1), Vec::new());
    world.nodes[2].shelf.0 = BTreeMap::from([(log_of(2), Vec::new())]);
    let told = seal(
        Dot {
            log: log_of(1),
            seq: 1,
        },
        10,
    );
    world.nodes[2].shelf.0.insert(log_of(1), vec![told]);
    world.restart(1);
    world.restart(2);
    world.write(2, 4, 10);
    world.nodes[1].replicator.config.origin.incarnation = 2;
    world.link(1, 2, true);
    world.run_ms(30_000);
    assert_eq!((world.has(1, log_of(1)), world.has(1, log_of(2))), (0, 0));
    world.link(0, 1, true);
    world.run_ms(5_000);
    assert_eq!((world.has(1, log_of(1)), world.has(1, log_of(2))), (2, 0));
}

#[test]
fn what_a_region_had_that_lapses_is_not_waited_for() {
    let mut world = World::new(3);
    world.write(0, 3, 10);
    world.write(2, 4, 10);
    // Of an earlier life of region 1 that only region 2 heard of.
    let only_there = seal(
        Dot {
            log: log_of(1),
            seq: 1,
        },
        10,
    );
    let shelf = &mut world.nodes[2].shelf.0;
    shelf.insert(log_of(1), vec![only_there]);
    world.durable(2);
    world.lose_disk(1);
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        world.link(a, b, true);
    }
    // What it hears of both comes, but nothing that is sent.
    world.cut = vec![(0, 1), (2, 1)];
    world.cut_lane = Some(Lane::Log);
    world.run_ms(1_000);
    world.link(1, 2, false);
    world.link(0, 2, false);
    let lapse = Change::Lapse {
        region: RegionId(2),
    };
    let next = Manifest::of([1; 16], MEMBERS).propose(&lapse);
    world.step(0, Event::Members(Arc::new(next.expect("legal"))));
    world.cut.clear();
    world.run_ms(20_000);
    assert_eq!(world.closed(1), None, "it has all that region 0 has");
    let word = Stamp {
        physical_us: 7,
        ..Stamp::MIN
    };
    let frontier = world.frontier(1);
    world.step(1, Event::Durable(frontier, word));
    world.run_ms(1_000);
    assert_eq!(world.status(0, 1).watermark, Some(word));
}

#[test]
fn where_too_few_are_left_to_ask_it_goes_on_after_a_minute_and_says_so() {
    let mut world = world();
    world.lose_disk(1);
    world.link(1, 2, true);
    world.run_ms(59_000);
    assert!(!world.nodes[1].replicator.guesses_members());
    // Who has sent it something in vain tries ever more rarely.
    world.run_ms(40_000);
    assert!(world.nodes[1].replicator.guesses_members());
    assert_eq!(world.has(1, log_of(2)), 4);
}

#[test]
fn regions_that_all_began_empty_have_nothing_to_remember() {
    let mut world = World::new(3);
    world.write(0, 3, 10);
    world.lose_disk(1);
    world.lose_disk(2);
    let mut world = world.connect();
    world.run_ms(5_000);
    for at in 0..3 {
        assert_eq!(world.closed(at), None, "region {at}");
        assert_eq!(world.has(at, log_of(0)), 3);
    }
}
