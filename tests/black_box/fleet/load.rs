//! Clients that write all the time, and the account they keep of what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use fastrand::Rng;
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinHandle;

use super::{FLEET, Fleet, TABLE};
use crate::common::{Item, client_of, item, n, s};

/// Clients of each region.
const CLIENTS: usize = 2;
/// The hot keys are others after this, so that what is remembered of each stays small.
const EPOCH: Duration = Duration::from_secs(2);
const HOT_KEYS: usize = 3;
/// After a refusal: not to spin while a region is down.
const PAUSE: Duration = Duration::from_millis(20);

/// What clients may find in the end.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By (pk, sk), of keys that one client alone writes: every `v` that may be there, `None` for no item. More
    /// than one where an answer was never heard.
    pub own: BTreeMap<(String, String), BTreeSet<Option<String>>>,
    /// Acknowledged updates of hot keys: the key's sk, and what the update called itself.
    pub hot: BTreeSet<(String, String)>,
    /// By region.
    pub acknowledged: BTreeMap<String, u64>,
    pub refused: u64,
}

impl Ledger {
    fn add(&mut self, other: Ledger) {
        self.own.extend(other.own);
        self.hot.extend(other.hot);
        for (region, count) in other.acknowledged {
            *self.acknowledged.entry(region).or_default() += count;
        }
        self.refused += other.refused;
    }
}

/// Writers that go on until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Held for reading during each write in the region.
    gates: BTreeMap<&'static str, Arc<RwLock<()>>>,
    writers: Vec<JoinHandle<Ledger>>,
}

impl Load {
    pub fn start(fleet: &Fleet, seed: u64) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            gates: FLEET.map(|region| (region, Arc::default())).into(),
            writers: Vec::new(),
        };
        let began = Instant::now();
        for number in 0..FLEET.len() * CLIENTS {
            let region = FLEET[number % FLEET.len()];
            let writer = Writer {
                name: format!("w{number}"),
                region,
                client: client_of(region, &format!("http://{}", fleet.address(region))),
                rng: Rng::with_seed(seed ^ (number as u64 + 1)),
                began,
                step: 0,
                settled: Vec::new(),
                ledger: Ledger::default(),
            };
            let gate = Arc::clone(&load.gates[region]);
            load.writers
                .push(tokio::spawn(writer.run(Arc::clone(&load.stop), gate)));
        }
        load
    }

    /// While this is held, no write is under way in the region.
    pub async fn hold(&self, region: &str) -> RwLockWriteGuard<'_, ()> {
        self.gates[region].write().await
    }

    pub async fn end(self) -> Ledger {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Ledger::default();
        for writer in self.writers {
            all.add(writer.await.expect("writers end"));
        }
        all
    }
}

struct Writer {
    name: String,
    region: &'static str,
    client: Client,
    rng: Rng,
    began: Instant,
    step: u64,
    /// Own keys of which it is known what is there.
    settled: Vec<String>,
    ledger: Ledger,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>, gate: Arc<RwLock<()>>) -> Ledger {
        while !stop.load(Ordering::SeqCst) {
            let written = {
                let _open = gate.read().await;
                self.step += 1;
                self.write().await
            };
            if written {
                *self
                    .ledger
                    .acknowledged
                    .entry(self.region.to_owned())
                    .or_default() += 1;
            } else {
                self.ledger.refused += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.ledger
    }

    /// One write of some kind; whether it was acknowledged.
    async fn write(&mut self) -> bool {
        match self.rng.u8(0..100) {
            0..55 => self.put_new().await,
            55..67 => self.overwrite().await,
            67..77 => self.delete().await,
            77..95 => self.update_hot().await,
            _ => self.transact().await,
        }
    }

    async fn put_new(&mut self) -> bool {
        let sk = format!("{:07}", self.step);
        self.put(sk).await
    }

    async fn overwrite(&mut self) -> bool {
        match self.pick() {
            Some(sk) => self.put(sk).await,
            None => self.put_new().await,
        }
    }

    /// One of the own keys, which has to be settled anew.
    fn pick(&mut self) -> Option<String> {
        let count = self.settled.len();
        (count > 0).then(|| self.settled.swap_remove(self.rng.usize(..count)))
    }

    fn version(&self) -> String {
        format!("{}-{}", self.name, self.step)
    }

    fn image(&mut self, sk: &str) -> Item {
        let mut image = item([
            ("pk", s(&self.name)),
            ("sk", s(sk)),
            ("v", s(self.version())),
            ("step", n(self.step)),
        ]);
        if self.rng.u8(..3) == 0 {
            image.insert("tag".into(), s(format!("tag{}", self.rng.u8(..8))));
        }
        if self.rng.u8(..10) == 0 {
            image.insert("text".into(), s("all work and no play ".repeat(200)));
        }
        image
    }

    /// Notes what the own key may now have. An unheard answer may mean either, for good: it is left alone.
    fn note(&mut self, sk: String, now: Option<String>, heard: bool) {
        let key = (self.name.clone(), sk.clone());
        let fits = self.ledger.own.entry(key).or_insert_with(|| [None].into());
        if heard {
            fits.clear();
            self.settled.extend(now.is_some().then_some(sk));
        }
        fits.insert(now);
    }

    async fn put(&mut self, sk: String) -> bool {
        let image = self.image(&sk);
        let put = self
            .client
            .put_item()
            .table_name(TABLE)
            .set_item(Some(image));
        let heard = put.send().await.is_ok();
        self.note(sk, Some(self.version()), heard);
        heard
    }

    async fn delete(&mut self) -> bool {
        let Some(sk) = self.pick() else {
            return self.put_new().await;
        };
        let delete = self.client.delete_item().table_name(TABLE);
        let delete = delete.key("pk", s(&self.name)).key("sk", s(&sk));
        let heard = delete.send().await.is_ok();
        self.note(sk, None, heard);
        heard
    }

    /// Two new keys, both or neither.
    async fn transact(&mut self) -> bool {
        let keys = ["a", "b"].map(|half| format!("{:07}{half}", self.step));
        let mut transaction = self.client.transact_write_items();
        for sk in &keys {
            let put = Put::builder()
                .table_name(TABLE)
                .set_item(Some(self.image(sk)));
            let put = put.build().expect("complete");
            transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
        }
        let heard = transaction.send().await.is_ok();
        for sk in keys {
            self.note(sk, Some(self.version()), heard);
        }
        heard
    }

    /// Adds itself to all that the item has seen: a version that lost no race is in what is there now, and one that
    /// did is in what the conflict log has of it.
    async fn update_hot(&mut self) -> bool {
        let epoch = self.began.elapsed().as_millis() / EPOCH.as_millis();
        let sk = format!("{epoch:04}-{}", self.rng.usize(..HOT_KEYS));
        let version = self.version();
        let update = self.client.update_item().table_name(TABLE);
        let update = update
            .key("pk", s("hot"))
            .key("sk", s(&sk))
            .update_expression("SET v = :v, step = :step, tag = :tag ADD seen :seen")
            .expression_attribute_values(":v", s(&version))
            .expression_attribute_values(":step", n(self.step))
            .expression_attribute_values(":tag", s(self.region))
            .expression_attribute_values(":seen", AttributeValue::Ss(vec![version.clone()]));
        let heard = update.send().await.is_ok();
        if heard {
            self.ledger.hot.insert((sk, version));
        }
        heard
    }
}
