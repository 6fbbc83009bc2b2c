//! What is pushed, relayed, lost and found again.

use super::*;

#[test]
fn a_durable_commit_is_pushed_at_once() {
    let mut world = World::connected(2);
    world.write(0, 1, 10);
    world.run_ms(2 * DELAY_US / 1_000);
    assert_eq!(world.has(1, log_of(0)), 1);
    world.run_ms(600);
    let status = world.status(0, 1);
    assert!(status.connected);
    assert_eq!(status.behind, 0);
    assert_eq!(status.frontier, Frontier::from([(log_of(0), 1)]));
    let rtt_us = status.rtt_us.expect("heartbeats were echoed");
    assert!(rtt_us.abs_diff(2 * DELAY_US) <= 2 * STEP_US, "{rtt_us}");
    assert_eq!(world.batches.get(&(0, 1)).expect("a batch was sent").0, 1);
    assert_eq!(world.disconnects, []);
}

#[test]
fn commits_that_are_visible_but_not_durable_stay_here() {
    let mut world = World::connected(2);
    world.append(0, MEMBERS, 10);
    world.append(0, MEMBERS, 10);
    let synced = Frontier::from([(log_of(0), 1)]);
    world.step(0, Event::Durable(synced, Stamp::MIN));
    world.run_ms(1_000);
    assert_eq!(world.has(1, log_of(0)), 1, "I3");
    world.durable(0);
    world.run_ms(100);
    assert_eq!(world.has(1, log_of(0)), 2);
}

#[test]
fn a_log_goes_only_to_its_group() {
    let mut world = World::connected(3);
    let pair = GroupId(0b011);
    world.append(0, pair, 10);
    world.durable(0);
    world.run_ms(5_000);
    assert_eq!(world.has(1, log_in(pair, 0)), 1);
    assert_eq!(world.has(2, log_in(pair, 0)), 0);
    assert_eq!(
        world.status(2, 0).frontier,
        Frontier::new(),
        "not even its frontier"
    );
}

#[test]
fn catches_up_after_an_absence() {
    let mut world = World::connected(2);
    world.write(0, 5, 10);
    world.run_ms(200);
    world.link(0, 1, false);
    world.write(0, 3_000, 1_000);
    world.run_ms(200);
    let status = world.status(0, 1);
    assert!(!status.connected);
    assert_eq!(status.behind, 3_000);
    world.link(0, 1, true);
    world.run_ms(1_000);
    assert_eq!(world.has(1, log_of(0)), 3_005);
    let (_, bytes) = world.batches.get(&(0, 1)).expect("batches were sent");
    assert!(*bytes < 3_300_000, "everything is sent once: {bytes}");
}

#[test]
fn a_slow_peer_costs_a_window_and_no_more() {
    let mut world = World::connected(2);
    world.nodes[1].applies = false;
    for _ in 0..100 {
        world.write(0, 100, 1_000);
        world.run_ms(10);
    }
    let (_, bytes) = *world.batches.get(&(0, 1)).expect("batches were sent");
    assert!(
        bytes <= WINDOW_BYTES_START + BATCH_BYTES_MAX + 10_000,
        "{bytes}"
    );
    assert!(world.nodes[1].waiting.len() <= APPLY_IN_FLIGHT_MAX);
    world.nodes[1].applies = true;
    world.settle(1, true);
    world.run_ms(5_000);
    assert_eq!(world.has(1, log_of(0)), 10_000);
}

#[test]
fn a_slow_peer_costs_the_others_nothing() {
    let mut world = World::connected(3);
    world.nodes[1].applies = false;
    for n in 1..=50 {
        world.write(0, 100, 1_000);
        world.run_ms(50);
        assert_eq!(world.has(2, log_of(0)), 100 * n, "as if it were alone");
    }
    let burden = world.nodes[0].replicator.burden();
    assert!(burden.unacked_bytes <= WINDOW_BYTES_START + BATCH_BYTES_MAX);
}

#[test]
fn a_long_way_gets_a_larger_window() {
    let mut world = World::connected(2);
    world.delay_us = 150_000;
    world.run_ms(3_000);
    world.write(0, 30_000, 1_000);
    let before = world.now_us;
    while world.has(1, log_of(0)) < 30_000 {
        world.run_ms(100);
        let burden = world.nodes[1].replicator.burden();
        assert!(burden.intake_bytes <= INTAKE_BYTES_MAX);
    }
    // 30 MB by 1 MiB a round trip of 300 ms would take 8.6 s.
    let took_us = world.now_us - before;
    assert!(took_us < 4_000_000, "{took_us}");
    let (_, bytes) = *world.batches.get(&(0, 1)).expect("batches were sent");
    assert!(bytes < 31_500_000, "everything is sent once: {bytes}");
}

#[test]
fn a_relay_serves_what_the_origin_cannot() {
    let mut world = World::connected(3);
    world.link(0, 2, false);
    world.write(0, 2_000, 1_000);
    world.run_ms(2_000);
    assert_eq!(world.has(2, log_of(0)), 2_000);
    // Once a relay serves, it is asked without waiting.
    world.write(0, 1, 10);
    world.run_ms(350);
    assert_eq!(world.has(2, log_of(0)), 2_001);
    world.link(0, 2, true);
    world.run_ms(500);
    let relayed = world.batches.get(&(1, 2)).expect("a relay served").0;
    world.write(0, 1, 10);
    world.run_ms(3_000);
    assert_eq!(world.has(2, log_of(0)), 2_002);
    assert_eq!(
        world.batches.get(&(1, 2)).expect("as before").0,
        relayed,
        "no relay is needed now"
    );
}

#[test]
fn a_relay_serves_where_only_the_log_lane_stalls() {
    let mut world = World::connected(3);
    world.cut = vec![(0, 2)];
    world.cut_lane = Some(Lane::Log);
    world.write(0, 10, 10);
    world.run_ms(500);
    assert_eq!(world.has(2, log_of(0)), 0, "the origin is given its time");
    world.run_ms(2_000);
    assert_eq!(world.has(2, log_of(0)), 10);
    // The origin has learnt of it, so it stops pushing the same again.
    let pushed = world.batches.get(&(0, 2)).expect("it tried").0;
    world.run_ms(5_000);
    assert_eq!(world.batches.get(&(0, 2)).expect("as before").0, pushed);
}

#[test]
fn another_relay_is_asked_when_one_does_not_serve() {
    let mut world = World::new(3);
    for (a, b) in [(0, 1), (1, 2)] {
        world.link(a, b, true);
    }
    world.run_ms(500);
    world.cut = vec![(1, 2)];
    world.cut_lane = Some(Lane::Log);
    world.write(0, 10, 10);
    world.run_ms(3_000);
    assert_eq!(world.has(2, log_of(0)), 0);
    world.link(0, 2, true);
    world.run_ms(200);
    assert_eq!(world.has(2, log_of(0)), 10);
}

#[test]
fn a_gap_is_asked_for() {
    let mut world = World::connected(2);
    world.cut = vec![(0, 1)];
    world.write(0, 1, 10);
    world.cut.clear();
    world.write(0, 1, 10);
    world.run_ms(100);
    assert_eq!(world.has(1, log_of(0)), 2, "without waiting for a timer");
}

#[test]
fn a_lost_tail_is_pushed_again() {
    let mut world = World::connected(2);
    world.cut = vec![(0, 1)];
    world.write(0, 3, 10);
    world.run_ms(20);
    world.cut.clear();
    world.run_ms(1_500);
    assert_eq!(world.has(1, log_of(0)), 3);
    assert_eq!(world.disconnects, []);
}

#[test]
fn nothing_is_poured_into_a_blackhole_and_healing_is_noticed_at_once() {
    let mut world = World::connected(2);
    world.cut = vec![(0, 1)];
    world.write(0, 3, 10);
    world.run_ms(60_000);
    let tried = world.batches.get(&(0, 1)).expect("it tried").0;
    assert!(tried <= 3, "{tried}");
    world.cut.clear();
    world.run_ms(600);
    assert_eq!(world.has(1, log_of(0)), 3);
}

#[test]
fn lost_acknowledgements_do_not_stop_anything() {
    let mut world = World::connected(2);
    world.cut = vec![(1, 0)];
    world.write(0, 2_000, 1_000);
    world.run_ms(10_000);
    world.cut.clear();
    world.run_ms(2_000);
    assert_eq!(world.has(1, log_of(0)), 2_000);
    assert_eq!(world.status(0, 1).behind, 0);
}

#[test]
fn a_lost_hello_is_said_again() {
    let mut world = World::new(2);
    world.cut = vec![(0, 1), (1, 0)];
    world.link(0, 1, true);
    world.write(0, 1, 10);
    world.run_ms(3_000);
    world.cut.remove(0);
    world.run_ms(3_000);
    assert!(!world.status(0, 1).connected, "one direction is not enough");
    world.cut.clear();
    world.run_ms(1_300);
    assert!(world.status(0, 1).connected && world.status(1, 0).connected);
    assert_eq!(world.has(1, log_of(0)), 1);
}

#[test]
fn doubled_and_late_frames_are_harmless() {
    let mut world = World::connected(3);
    world.doubling = true;
    for _ in 0..50 {
        for at in 0..3 {
            world.write(at, 3, 500);
        }
        world.run_ms(30);
    }
    world.run_ms(3_000);
    assert!(world.converged());
    assert_eq!(world.has(2, log_of(0)), 150);
    assert_eq!(world.disconnects, []);
}

#[test]
fn a_failed_apply_is_fetched_again() {
    let mut world = World::connected(2);
    world.nodes[1].fail_next = true;
    world.write(0, 1_000, 1_000);
    world.run_ms(6_000);
    assert_eq!(world.has(1, log_of(0)), 1_000);
    assert_eq!(world.disconnects, []);
}
