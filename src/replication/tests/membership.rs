//! How the record of the members goes round.

use super::*;
use crate::replica::manifest::{Addresses, Change, FOUNDING};
use crate::replication::wire::{self, Message};

fn moved(region: u16) -> Arc<Manifest> {
    let change = Change::Move {
        region: RegionId(region),
        addresses: Addresses {
            replication: Some("elsewhere:1".into()),
            ..Addresses::default()
        },
    };
    next(&change)
}

fn next(change: &Change) -> Arc<Manifest> {
    let founding = Manifest::of([1; 16], MEMBERS);
    Arc::new(founding.propose(change).expect("legal"))
}

impl World {
    fn epochs(&self) -> Vec<u64> {
        self.nodes.iter().map(|n| n.replicator.epoch()).collect()
    }
}

#[test]
fn a_newer_record_reaches_all_over_whatever_links_there_are() {
    let mut world = World::new(3);
    world.link(0, 1, true);
    world.link(1, 2, true);
    world.run_ms(1_000);
    assert_eq!(world.epochs(), [FOUNDING; 3]);
    world.step(0, Event::Members(moved(2)));
    world.run_ms(1_000);
    assert_eq!(world.epochs(), [2; 3]);
    assert_eq!(world.nodes[2].replicator.config.manifest, moved(2));
    assert!(world.disconnects.is_empty(), "{:?}", world.disconnects);
    world.step(0, Event::Members(Arc::new(Manifest::of([1; 16], MEMBERS))));
    assert_eq!(world.epochs(), [2; 3], "an older one is not taken");
}

#[test]
fn a_region_that_was_away_hears_of_it_when_it_connects() {
    let mut world = World::new(2);
    world.step(0, Event::Members(moved(1)));
    world.link(1, 0, true);
    world.run_ms(1_000);
    assert_eq!(world.epochs(), [2; 2]);
}

#[test]
fn who_is_no_member_any_more_is_turned_away() {
    let mut world = World::connected(3);
    let region = RegionId(2);
    let gone = next(&Change::Remove { region });
    world.step(0, Event::Members(gone));
    world.run_ms(2_000);
    assert_eq!(world.epochs()[..2], [2; 2]);
    assert!(!world.status(1, 0).frontier.is_empty() || world.status(1, 0).connected);
    assert_eq!(
        world.nodes[0].replicator.status().len(),
        1,
        "nobody waits for it"
    );
    let turned_away = |(at, peer, reason): &(u16, u16, String)| {
        (*at, *peer) == (0, 2) && reason.contains("was removed from this cluster")
    };
    assert!(
        world.disconnects.iter().any(turned_away),
        "{:?}",
        world.disconnects
    );
    assert_eq!(world.epochs()[2], 2, "it was told");
    world.step(0, Event::Up(RegionId(2)));
    world.run_ms(2_000);
    assert!(world.disconnects.last().is_some_and(turned_away));
}

#[test]
fn strange_records_end_the_session() {
    let bytes = moved(1).encode().expect("encodes");
    let elsewhere = Manifest::of([2; 16], MEMBERS).encode().expect("encodes");
    let mut newer = bytes.clone();
    newer[0] += 1;
    for (bytes, words) in [
        (elsewhere, "is of cluster"),
        (newer, "upgrade the older region"),
        (bytes[..9].to_vec(), "cannot be read"),
    ] {
        let mut world = World::connected(2);
        let frame = wire::encode(Message::Manifest(bytes)).expect("is short");
        world.step(0, Event::Frame(RegionId(1), Lane::Control, frame));
        let reason = world.disconnects.pop().map(|(_, _, reason)| reason);
        assert!(
            reason.clone().unwrap_or_default().contains(words),
            "{reason:?}"
        );
        assert_eq!(world.epochs()[0], FOUNDING);
    }
}
