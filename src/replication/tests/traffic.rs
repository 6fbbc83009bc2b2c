//! What is compressed, and what is counted of each link.

use super::*;

fn world(compression: Compression) -> World {
    let mut world = World::new(2);
    for node in &mut world.nodes {
        node.replicator.config.compression = compression;
    }
    world
}

/// What is sent for 100 commits of 1,000 bytes over a link of that round trip, in per cent of what it was.
fn share(compression: Compression, rtt_us: u64, queued_bytes: usize) -> u64 {
    let mut world = world(compression).connect();
    let session = world.nodes[0].replicator.sessions.get_mut(&RegionId(1));
    session.expect("connected").rtt_us = Some(rtt_us);
    world.step(0, Event::Queued(RegionId(1), queued_bytes));
    world.write(0, 100, 1_000);
    world.run_ms(1_000);
    assert_eq!(world.has(1, log_of(0)), 100);
    assert_eq!(world.disconnects, []);
    let sent = world.status(0, 1).traffic;
    assert_eq!((sent.batches_sent, sent.commits_sent), (1, 100));
    assert!((100_000..110_000).contains(&sent.raw_bytes), "{sent:?}");
    let (_, seen) = world.batches[&(0, 1)];
    assert_eq!(sent.sent_bytes, seen as u64, "what the link carried");
    assert_eq!(world.status(1, 0).traffic.commits_own, 100);
    sent.sent_bytes * 100 / sent.raw_bytes
}

#[test]
fn what_goes_far_or_waits_is_compressed() {
    let (far_us, near_us) = (PACK_RTT_US, PACK_RTT_US / 2);
    assert!(share(Compression::Auto, far_us, 0) < 10, "far");
    assert_eq!(share(Compression::Auto, near_us, 0), 100, "near");
    assert!(
        share(Compression::Auto, near_us, PACK_QUEUE_BYTES) < 10,
        "slow"
    );
    assert!(share(Compression::Always, near_us, 0) < 10);
    assert_eq!(share(Compression::Never, far_us, PACK_QUEUE_BYTES), 100);
}

#[test]
fn a_damaged_batch_ends_the_session_with_words() {
    let mut world = world(Compression::Always).connect();
    let mut batch = wire::pack(vec![0; 5_000]);
    // Of the length.
    batch[2] ^= 1;
    world.step(0, Event::Frame(RegionId(1), Lane::Log, batch));
    let [(0, 1, reason)] = world.disconnects.as_slice() else {
        panic!("{:?}", world.disconnects);
    };
    assert!(
        reason.contains("compressed frame is not what it says"),
        "{reason}"
    );
}

#[test]
fn relayed_commits_are_counted_apart() {
    let mut world = World::connected(3);
    world.cut = vec![(0, 2), (2, 0)];
    world.write(0, 10, 10);
    world.run_ms(10_000);
    assert_eq!(world.has(2, log_of(0)), 10);
    let from_relay = world.status(2, 1).traffic;
    assert_eq!(
        (from_relay.commits_own, from_relay.commits_relayed),
        (0, 10)
    );
    assert!(
        world.status(0, 2).traffic.stalls < 3,
        "it is not heard, so little is sent"
    );
}

#[test]
fn heartbeats_leave_out_what_ended_and_is_everywhere() {
    let mut world = World::new(2);
    let lives = |last: u32| {
        let log = |incarnation| LogId {
            group: MEMBERS,
            origin: Origin {
                region: RegionId(0),
                incarnation,
            },
        };
        (1..=last).map(log).collect::<Vec<_>>()
    };
    for at in [0, 1] {
        let here = if at == 0 { lives(4) } else { lives(3) };
        let shelf = &mut world.nodes[at].shelf.0;
        for log in here {
            shelf.insert(log, vec![seal(Dot { log, seq: 1 }, 1)]);
        }
        let durable = world.frontier(at as u16);
        let mut config = config(at as u16);
        config.origin.incarnation = if at == 0 { 5 } else { 1 };
        world.nodes[at].replicator = Replicator::new(config, durable);
    }
    let mut world = world.connect();
    world.cut = vec![(0, 1)];
    world.cut_lane = Some(Lane::Log);
    world.run_ms(10_000);
    let sizes: Vec<usize> = world.beats.iter().map(Frontier::len).collect();
    let whole = sizes.iter().filter(|size| **size == 4).count();
    assert!((2..=4).contains(&whole), "one in 25: {sizes:?}");
    assert!(
        sizes.iter().all(|size| *size == 4 || *size == 1),
        "{sizes:?}"
    );
    let newest = lives(4)[3];
    assert!(world.beats.iter().all(|beat| beat.contains_key(&newest)));
}
