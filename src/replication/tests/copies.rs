//! When a region is given a copy, and when it need not be.

use super::*;
use crate::replica::manifest::State;

/// Region 1 has made ten commits, of which region `at` has the last five in its log. Region 0 has none yet, and what
/// region 1 sends it comes to nothing.
fn dropped_at(at: usize) -> World {
    let mut world = World::new(3);
    world.link(1, 2, true);
    world.write(1, 10, 10);
    world.run_ms(1_000);
    world.nodes[at].shelf.1.insert(log_of(1), 6);
    world.cut = vec![(1, 0)];
    world.cut_lane = Some(Lane::Log);
    world.link(0, 1, true);
    world
}

/// It is region 2, which was given a copy.
fn world() -> World {
    let mut world = dropped_at(2);
    world.link(0, 2, true);
    world.run_ms(5_000);
    world
}

#[test]
fn what_one_peer_has_dropped_another_may_have() {
    let mut world = world();
    assert_eq!(world.copies, [0_u16; 0], "region 1 has it all");
    assert_eq!(world.nodes[0].replicator.rebuilding(), None);
    world.cut.clear();
    world.run_ms(20_000);
    assert_eq!(world.has(0, log_of(1)), 10);
    assert_eq!(world.copies, [0_u16; 0]);
}

#[test]
fn what_every_peer_that_had_it_has_dropped_is_copied() {
    let mut gone = world();
    gone.nodes[1].shelf.1.insert(log_of(1), 6);
    gone.run_ms(5_000);
    assert!(gone.copies.contains(&0), "both have dropped it");
    // Who was the other is not there any more.
    let mut alone = world();
    alone.link(0, 1, false);
    alone.run_ms(5_000);
    assert!(alone.copies.contains(&0), "who is there has dropped it");
}

/// What a commit replaced that the sponsor's store shows is left out of the copy: it must be among what is waited for.
#[test]
fn a_copy_does_not_end_before_all_that_it_saw_is_durable() {
    let mut world = World::new(2);
    world.write(1, 10, 10);
    world.nodes[1].shelf.1.insert(log_of(1), 6);
    world.append(1, MEMBERS, 10);
    world.link(0, 1, true);
    let lacks = |world: &World| world.nodes[0].replicator.rebuilding().unwrap_or_default();
    let (group, ok) = (MEMBERS, true);
    for _ in 0..3 {
        world.run_ms(2_000);
        assert!(lacks(&world).contains("copying from"), "{}", lacks(&world));
        world.step(0, Event::Copied { group, ok });
    }
    world.durable(1);
    world.run_ms(2_000);
    let mut copied = world.nodes[1].shelf.0[&log_of(1)].clone();
    copied.truncate(10);
    world.nodes[0].shelf.0.insert(log_of(1), copied);
    world.durable(0);
    world.step(0, Event::Copied { group, ok });
    assert!(lacks(&world).contains("1 newer"), "{}", lacks(&world));
}

/// Were what the sponsor alone has in a copy, the joiner would have it alone if the sponsor lost its disk.
#[test]
fn a_copy_is_of_what_another_has_too() {
    let base = |other: bool| {
        let mut world = World::new(3);
        world.cut_lane = Some(Lane::Log);
        world.cut = vec![(1, 0)];
        world.write(1, 5, 10);
        world.link(1, 2, other);
        world.run_ms(1_000);
        world.cut.push((1, 2));
        world.write(1, 5, 10);
        for at in [1, 2] {
            world.nodes[at].shelf.1.insert(log_of(1), 4);
        }
        world.link(0, 1, true);
        world.run_ms(2_000);
        world
            .bases
            .last()
            .and_then(|base| base.get(&log_of(1)).copied())
    };
    assert_eq!(base(true), Some(5), "region 2 has no more");
    assert_eq!(base(false), Some(10), "there is nobody else");
}

/// What the sponsor had when the copy ended makes it whole, whoever brings it.
#[test]
fn who_only_has_to_catch_up_needs_its_sponsor_no_more() {
    let mut world = dropped_at(1);
    world.run_ms(2_000);
    assert_eq!(world.copies, [0]);
    let lacks = |world: &World| world.nodes[0].replicator.rebuilding().unwrap_or_default();
    // The last commit was made while the copy was under way.
    let mut copied = world.nodes[1].shelf.0[&log_of(1)].clone();
    copied.truncate(9);
    world.nodes[0].shelf.0.insert(log_of(1), copied);
    world.durable(0);
    let (group, ok) = (MEMBERS, true);
    world.step(0, Event::Copied { group, ok });
    assert!(lacks(&world).contains("1 newer"), "{}", lacks(&world));
    world.link(0, 1, false);
    world.run_ms(2_000);
    assert!(lacks(&world).contains("1 newer"), "{}", lacks(&world));
    world.link(0, 2, true);
    world.run_ms(5_000);
    assert_eq!(
        (lacks(&world), world.has(0, log_of(1))),
        (String::new(), 10)
    );
    assert_eq!(world.copies, [0]);
}

#[test]
fn a_region_that_lacks_something_takes_nobody_for_dead() {
    let mut world = World::connected(3);
    world.write(1, 10, 10);
    world.run_ms(1_000);
    world.lose_disk(2);
    world.cut = vec![(0, 2), (1, 2)];
    world.cut_lane = Some(Lane::Log);
    for at in [0, 1] {
        world.link(at, 2, true);
    }
    world.run_ms(5_000);
    assert!(world.nodes[2].replicator.rebuilding().is_some());
    for at in [0, 2] {
        world.link(at, 1, false);
    }
    for node in &mut world.nodes {
        node.replicator.config.limits.dead_after_us = 5_000_000;
    }
    world.run_ms(20_000);
    let state = |world: &World| {
        let manifest = &world.nodes[0].replicator.config.manifest;
        manifest.state(RegionId(1))
    };
    assert_eq!(state(&world), Some(State::Active), "2 may need it");
    world.cut.clear();
    world.run_ms(20_000);
    assert_eq!(world.nodes[2].replicator.rebuilding(), None);
    world.run_ms(20_000);
    assert_eq!(state(&world), Some(State::Lapsed));
}
