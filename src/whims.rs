//! Whims: places where correct code may do less, do it early or do it twice, and be correct still. In some
//! simulated worlds it does, so that the rare ways between its parts are walked often (FoundationDB's buggify).
//!
//! `maybe!("short batch", region, seq)` is false outside simulated worlds, and in them unless that whim is one of the
//! world's. Where it is, one of four is true, by the world's seed, the whim's name, and what it is about. Nothing is
//! counted: what is left out of a plan does not change the draws of what stays.
//!
//! Compiled into every build, as a seed means the same in all of them. Outside simulated worlds it is a look at a
//! flag of the thread, at places that are passed a few times for each frame or group of jobs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Every whim there is, and what happens by it.
pub const WHIMS: &[(&str, &str)] = &[
    ("short batch", "a batch holds one commit"),
    (
        "full window",
        "nothing is pushed now, as if the peer's window were full",
    ),
    ("small credit", "a relay serves one commit"),
    (
        "impatient sender",
        "what is not acknowledged yet is pushed again",
    ),
    (
        "silent ack",
        "an acknowledgement is left to the next heartbeat",
    ),
    ("want twice", "a relay is asked twice for the same"),
    ("impatient reader", "a relay is asked at once"),
    ("full intake", "a commit that comes is not taken in"),
    ("short load", "one commit is applied alone"),
    ("hello again", "a peer is greeted that knows us"),
    ("early heartbeat", "a heartbeat is sent before its time"),
    ("late heartbeat", "a heartbeat that is due is not sent"),
    (
        "stale heartbeat",
        "a heartbeat says nothing of what is here",
    ),
    (
        "early stability",
        "what is durable everywhere is looked at before its time",
    ),
    ("far sponsor", "a copy is asked of the region farthest away"),
    ("fetch twice", "a part of a copy is asked for twice"),
    ("tiny part", "a part of a copy holds one row"),
    ("early comparison", "tables are compared before it is time"),
    (
        "context again",
        "a commit says again what its writer has seen",
    ),
    (
        "early chores",
        "chores look for work before their rest is over",
    ),
    ("short collection", "one tombstone is looked at in a step"),
    ("short truncation", "one commit leaves the log in a step"),
    ("short build", "one row goes into an index in a step"),
    (
        "early clock bound",
        "the durable bound of the clock is raised before it must be",
    ),
];

/// One of so many decisions is to do it.
const FIRES_ONE_OF: u64 = 4;

/// What a decision is about, as a number.
pub trait Id {
    fn id(self) -> u64;
}

impl Id for u64 {
    fn id(self) -> u64 {
        self
    }
}

/// The whims of the world that this thread runs.
struct World {
    seed: u64,
    names: Vec<String>,
    fired: BTreeMap<&'static str, u64>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// From now on this thread has these whims, decided by this seed.
pub fn begin(seed: u64, names: &[String]) {
    let world = World {
        seed,
        names: names.to_vec(),
        fired: BTreeMap::new(),
    };
    WORLD.set((!names.is_empty()).then_some(world));
}

/// This thread has no whims any more. Gives how often each has fired.
pub fn end() -> BTreeMap<&'static str, u64> {
    WORLD.take().map(|world| world.fired).unwrap_or_default()
}

/// Whether to do it here. Use [`maybe!`](crate::maybe).
pub fn fires(name: &'static str, about: &[u64]) -> bool {
    debug_assert!(
        WHIMS.iter().any(|(known, _)| *known == name),
        "the whim '{name}' is not in the list"
    );
    WORLD.with_borrow_mut(|world| {
        let Some(world) = world.as_mut().filter(|w| w.names.iter().any(|n| n == name)) else {
            return false;
        };
        let fires = draw(world.seed, name, about).is_multiple_of(FIRES_ONE_OF);
        if fires {
            *world.fired.entry(name).or_default() += 1;
        }
        fires
    })
}

fn draw(seed: u64, name: &str, about: &[u64]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0x7768_696d);
    hasher.write(name.as_bytes());
    hasher.write_u8(0xff);
    for number in about {
        hasher.write(&number.to_be_bytes());
    }
    hasher.finish()
}

/// Whether to do something on a whim; what it is about is named by what follows the whim's name.
#[macro_export]
macro_rules! maybe {
    ($name:literal $(, $about:expr)+ $(,)?) => {
        $crate::whims::fires($name, &[$($crate::whims::Id::id($about)),+])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whim_fires_in_its_world_only_and_in_one_of_four() {
        let count = || (0..1_000u64).filter(|n| maybe!("short batch", *n)).count();
        assert_eq!(count(), 0);
        begin(7, &["short batch".to_owned()]);
        let fired = count();
        assert!((200..300).contains(&fired), "{fired}");
        assert_eq!(count(), fired, "by what it is about");
        assert!(!(0..100u64).any(|n| maybe!("tiny part", n)));
        assert_eq!(end(), BTreeMap::from([("short batch", 2 * fired as u64)]));
        assert_eq!(count(), 0);
    }
}
