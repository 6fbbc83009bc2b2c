//! A lapsed region on its way back.

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
