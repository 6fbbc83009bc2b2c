//! Who is let in.

use super::*;
use crate::replication::wire::{self, Hello, Message};

fn refusal(change: impl FnOnce(&mut ReplicatorConfig)) -> String {
    let mut world = World::new(2);
    let mut stranger = config(1);
    change(&mut stranger);
    world.nodes[1].replicator = Replicator::new(stranger, Frontier::new());
    world.write(0, 1, 10);
    world.link(0, 1, true);
    world.run_ms(2_000);
    assert_eq!(world.has(1, log_of(0)), 0);
    let reasons = world.disconnects.into_iter().map(|(_, _, reason)| reason);
    reasons.collect::<Vec<_>>().join("; ")
}

#[test]
fn strangers_are_turned_away() {
    assert!(refusal(|c| c.manifest = members([2; 16], MEMBERS)).contains("another cluster"));
    assert!(
        refusal(|c| c.manifest = members([1; 16], GroupId(0b110))).contains("not another member")
    );
    let elsewhere = refusal(|c| (c.region, c.origin) = (RegionId(2), origin(2)));
    assert!(elsewhere.contains("says it is r2"), "{elsewhere}");
    let mut world = World::new(1);
    world.step(0, Event::Up(RegionId(9)));
    world.step(0, Event::Up(RegionId(0)));
    assert_eq!(world.disconnects.len(), 2);
    assert_eq!(world.nodes[0].replicator.sessions.len(), 0);
}

fn members(cluster: [u8; 16], regions: GroupId) -> Arc<Manifest> {
    Arc::new(Manifest::of(cluster, regions))
}

fn hello_from(region: u16) -> Hello {
    Hello {
        protocol: PROTOCOL,
        cluster_id: [1; 16],
        region: RegionId(region),
        incarnation: 1,
        epoch: 1,
        members_digest: Manifest::of([1; 16], MEMBERS).digest(),
        frontier: Frontier::new(),
        seen_of_you: Frontier::new(),
        heard_you: false,
        whole: true,
        clean: false,
    }
}

/// What region 0, which has made one commit and knows incarnation 3 of region 2, says to a hello.
fn answer(peer: u16, hello: Hello) -> Vec<Action> {
    let earlier = LogId {
        group: MEMBERS,
        origin: Origin {
            region: RegionId(2),
            incarnation: 3,
        },
    };
    let durable = Frontier::from([(log_of(0), 1), (earlier, 4)]);
    let mut replicator = Replicator::new(config(0), durable);
    let now = Now {
        wall_us: 1,
        mono_us: 1,
    };
    let (shelf, mut out) = (MemShelf::default(), Vec::new());
    let frame = wire::encode(Message::Hello(hello)).expect("is short");
    for event in [
        Event::Up(RegionId(peer)),
        Event::Frame(RegionId(peer), Lane::Control, frame),
    ] {
        replicator
            .step_on(now, &shelf, event, &mut out)
            .expect("shelves do not fail");
    }
    out
}

fn refused_because(actions: &[Action], why: &str) -> bool {
    matches!(actions.last(), Some(Action::Disconnect(_, reason)) if reason.contains(why))
}

#[test]
fn lost_history_is_noticed() {
    let reborn = |peer, hello| -> Vec<u32> {
        let actions = answer(peer, hello).into_iter();
        let above = actions.filter_map(|action| match action {
            Action::Reborn { above } => Some(above),
            _ => None,
        });
        above.collect()
    };
    assert!(reborn(1, hello_from(1)).is_empty());
    let mut knows_more = hello_from(1);
    knows_more.frontier.insert(log_of(0), 2);
    assert_eq!(reborn(1, knows_more), [1]);
    let mut saw_more = hello_from(1);
    saw_more.seen_of_you.insert(log_of(0), 2);
    assert_eq!(reborn(1, saw_more), [1]);
    let mut other_life = log_of(0);
    other_life.origin.incarnation = 7;
    let mut knows_later = hello_from(1);
    knows_later.frontier.insert(other_life, 1);
    assert_eq!(reborn(1, knows_later), [7]);
    // A peer that is of an earlier life than we know is let in: it has to hear of it.
    assert!(!refused_because(&answer(2, hello_from(2)), ""));
}

#[test]
fn those_who_do_not_belong_are_refused() {
    let mut apart = hello_from(1);
    apart.members_digest += 1;
    assert!(refused_because(&answer(1, apart), "topologies"));
    let mut newer = hello_from(1);
    newer.protocol += 1;
    assert!(refused_because(
        &answer(1, newer),
        &format!("protocol {}", PROTOCOL + 1)
    ));
}

#[test]
fn garbage_ends_the_session() {
    let mut world = World::connected(2);
    world.step(0, Event::Frame(RegionId(1), Lane::Log, vec![0xFF; 20]));
    assert_eq!(world.disconnects.len(), 1);
    assert!(!world.status(0, 1).connected);
    // Frames of a session that ended are ignored.
    world.step(0, Event::Frame(RegionId(1), Lane::Log, vec![0xFF; 20]));
    assert_eq!(world.disconnects.len(), 1);
}

/// Three regions whose stores began empty.
fn newborn() -> World {
    let mut world = World::new(3);
    for (node, region) in world.nodes.iter_mut().zip(0..) {
        let mut config = config(region);
        config.lacks.newborn = true;
        node.replicator = Replicator::new(config, Frontier::new());
    }
    world
}

#[test]
fn an_empty_store_serves_nobody_before_it_has_heard_a_majority() {
    let mut world = newborn();
    let serves = |world: &World, at: usize| world.nodes[at].replicator.closed().is_none();
    world.run_ms(60_000);
    assert!(
        !serves(&world, 0),
        "alone it may be what is left of a lost disk"
    );
    world.link(0, 1, true);
    world.run_ms(1_000);
    assert!(
        serves(&world, 0) && serves(&world, 1),
        "two of three are new"
    );
    assert!(!serves(&world, 2));
    world.link(0, 2, true);
    world.run_ms(1_000);
    assert!(serves(&world, 2), "it has all that a whole peer has");
}

#[test]
fn empty_stores_that_all_hear_each_other_serve_at_once() {
    let mut world = newborn().connect();
    world.run_ms(300);
    for node in &world.nodes {
        assert_eq!(node.replicator.closed(), None);
    }
}
