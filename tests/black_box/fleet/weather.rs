//! What happens to the regions and their links, one thing after the other, all of it from a seed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use super::load::Load;
use super::{FLEET, Fleet, TABLE};
use crate::common::signal;

/// Between two events, milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 50..350;
/// For how long a process may be stopped, milliseconds.
const STALL_MS: std::ops::Range<u64> = 100..1_000;
/// A rebuilding comes when so much of a round has passed; the copy for it was made earlier.
const ROUND: Duration = Duration::from_secs(10);
const COPIED: Duration = Duration::from_secs(2);
const REBUILT: Duration = Duration::from_secs(5);

/// A storm, and what it did.
pub struct Weather {
    rng: Rng,
    began: Instant,
    /// Told as they happen, for whoever reads of a failure.
    pub events: usize,
    /// Versions that lost a race, from regions that have forgotten it since.
    pub losers: Vec<Value>,
}

/// A region that is to lose its data, and what it gets instead.
struct Rebuilding {
    region: &'static str,
    /// An older copy of its store; `None` for nothing.
    copy: Option<PathBuf>,
}

impl Weather {
    pub fn new(seed: u64) -> Weather {
        Weather {
            rng: Rng::with_seed(seed),
            began: Instant::now(),
            events: 0,
            losers: Vec::new(),
        }
    }

    /// Rages for `length`. In every round one region loses its data: in one everything, in the next it gets an old
    /// copy back.
    pub async fn rage(&mut self, fleet: &Fleet, load: &Load, length: Duration) {
        let rounds = (length.as_secs() / ROUND.as_secs()).max(1);
        let mut empty = self.rng.bool();
        for round in 0..rounds {
            let began = Instant::now();
            self.blow_until(fleet, began + COPIED).await;
            let rebuilding = self.choose(fleet, round, empty).await;
            self.blow_until(fleet, began + REBUILT).await;
            self.rebuild(fleet, load, rebuilding).await;
            empty = !empty;
            self.blow_until(fleet, began + ROUND).await;
        }
    }

    fn say(&mut self, event: String) {
        let at = self.began.elapsed().as_secs_f64();
        println!("{at:7.2} {event}");
        self.events += 1;
    }

    async fn blow_until(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            self.blow(fleet).await;
            let pause = Duration::from_millis(self.rng.u64(PAUSE_MS));
            tokio::time::sleep(pause).await;
        }
    }

    fn pair(&mut self) -> [&'static str; 2] {
        let mut names = FLEET;
        self.rng.shuffle(&mut names);
        [names[0], names[1]]
    }

    /// One event. What is asked of a region that is down just fails.
    async fn blow(&mut self, fleet: &Fleet) {
        let [a, b] = self.pair();
        match self.rng.u8(..20) {
            0..4 => self.run(fleet, &["partition", a, b]).await,
            4..7 => self.run(fleet, &["partition", a, b, "--one-way"]).await,
            7..10 => {
                let rtt = format!("{}ms", self.rng.u16(10..300));
                self.run(fleet, &["slow", a, b, "--rtt", &rtt]).await;
            }
            10..15 => self.run(fleet, &["heal", a, b]).await,
            15..18 => {
                self.say(format!("kill {a}"));
                let pid = fleet.cluster.kill(a).await;
                // Twice in a row would be once.
                fleet.cluster.back(a, pid).await;
            }
            _ => {
                let stall = Duration::from_millis(self.rng.u64(STALL_MS));
                self.say(format!("stall {a} for {stall:?}"));
                let pid = fleet.cluster.pid(a).await;
                signal(pid, "STOP");
                tokio::time::sleep(stall).await;
                signal(pid, "CONT");
            }
        }
    }

    async fn run(&mut self, fleet: &Fleet, args: &[&str]) {
        self.say(args.join(" "));
        fleet.cluster.try_run(args).await;
    }

    /// Chooses who is to be rebuilt, and takes the copy for it if there is to be one.
    async fn choose(&mut self, fleet: &Fleet, round: u64, empty: bool) -> Rebuilding {
        let [region, _] = self.pair();
        if empty {
            return Rebuilding { region, copy: None };
        }
        self.say(format!("copy {region}"));
        let copy = fleet.cluster.data.path().join(format!("copy-{round}"));
        let pid = fleet.cluster.pid(region).await;
        signal(pid, "STOP");
        copy_store(&fleet.folder(region).join("store"), &copy);
        signal(pid, "CONT");
        Rebuilding {
            region,
            copy: Some(copy),
        }
    }

    /// Takes a region's data away. What it alone has would be lost with its disk, as with any disk: others have it
    /// first, and nobody else is without anything.
    async fn rebuild(&mut self, fleet: &Fleet, load: &Load, rebuilding: Rebuilding) {
        let Rebuilding { region, copy } = rebuilding;
        let nobody_writes = load.hold(region).await;
        fleet.whole().await;
        for other in FLEET.into_iter().filter(|other| *other != region) {
            self.run(fleet, &["heal", region, other]).await;
        }
        fleet.is_known(region).await;
        self.losers
            .extend(fleet.cluster.losers(region, TABLE).await);
        let what = if copy.is_some() {
            "an old copy"
        } else {
            "nothing"
        };
        self.say(format!("rebuild {region} from {what}"));
        fleet
            .swap(region, |store| {
                std::fs::remove_dir_all(store).expect("removes");
                if let Some(copy) = copy {
                    copy_store(&copy, store);
                }
            })
            .await;
        drop(nobody_writes);
        self.say(format!("{region} runs again"));
    }
}

/// Copies the data, not the file of locks: they are of processes that will be gone.
fn copy_store(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).expect("copies");
}
