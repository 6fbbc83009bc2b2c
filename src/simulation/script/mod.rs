//! Scenarios for people: tables, steps and expectations, so that somebody sees what replication does to their
//! own data model.
//!
//! A [`Script`] is read once, with the line of every mistake (`read`, `steps`, `expectations`, `order`), and
//! played by one player ([`play()`]) on whatever is a [`Cluster`]: the simulated world (`stage`) or, on the command
//! line, real processes. So both give the same verdict of the same file. What clients ask is the JSON of the
//! DynamoDB API, and goes through the API's own code, which stands beside this floor and is passed in ([`Api`]).

mod expectations;
mod fields;
mod judge;
mod order;
mod play;
mod read;
mod stage;
mod steps;
mod value;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::clock::RegionId;
use crate::item::{Item, KeySchema};
use crate::replica::ApiError;
use crate::replica::request::{WriteRequest, WriteResponse};
use crate::store::Store;

pub(super) use fields::{Flaw, flaw, line_of};
pub use play::{Verdict, play};
pub(super) use read::Sections;
pub(super) use stage::{Stage, set};

/// What a scenario's file says beside what it fixes of its world.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub regions: Vec<String>,
    pub tables: Vec<Table>,
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// Those with a time first, in the order of their times; then those of the end.
    pub expectations: Vec<Expectation>,
    /// When every fault is healed.
    pub end_us: u64,
}

/// A table, made before the scenario begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    pub keys: KeySchema,
    pub indexes: Vec<String>,
    /// The body of CreateTable.
    pub create: Json,
    /// The attribute that says when an item expires.
    pub ttl: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it is written.
    pub line: usize,
    pub at_us: u64,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Ask(Box<Ask>),
    Operate(Operator),
}

/// What a client asks of a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub region: usize,
    /// The API's name of the operation.
    pub operation: &'static str,
    /// The table, for people; of a transaction, those that it names.
    pub table: String,
    /// The request, but for times.
    pub body: Json,
    pub answer: Answer,
}

/// What is expected of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The exception; without it the operation is to succeed.
    pub error: Option<String>,
    /// The codes of a cancelled transaction's reasons.
    pub reasons: Option<Vec<String>>,
    /// The item, or the attributes, that the answer has.
    pub item: Option<Json>,
    /// The items of a page, in order.
    pub items: Option<Vec<Json>>,
    /// How many items it has.
    pub count: Option<u64>,
}

impl Answer {
    /// Whether more than success is expected.
    fn is_told(&self) -> bool {
        *self != Answer::default()
    }
}

/// What somebody does to the cluster. Regions by their index.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Nothing passes in these directions.
    Cut(Vec<(usize, usize)>),
    /// These links are as they were; every link without any.
    Heal(Option<(usize, usize)>),
    Kill(usize),
    Restart(usize),
    /// The region's wall clock is set.
    Skew {
        region: usize,
        by_us: i64,
    },
    /// The link has this round trip.
    Slow {
        a: usize,
        b: usize,
        rtt_us: u64,
    },
}

/// What must be at a time, or at the end, in some regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub line: usize,
    /// Without one: at the end, when all regions have converged.
    pub at_us: Option<u64>,
    /// How long it may take from then on.
    pub within_us: u64,
    pub regions: Vec<usize>,
    pub what: Expected,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// The item of a key, as each region shows it.
    Item {
        table: usize,
        key: Json,
        state: State,
    },
    /// So many items in a table of each region.
    Count { table: usize, count: u64 },
    /// The conflicts of a table or a key of it, each counted once.
    Conflicts {
        table: usize,
        key: Option<Json>,
        count: u64,
        /// What the losers have, each another one.
        lost: Vec<Json>,
        /// The regions whose writes lost, for each conflict one of them.
        lost_by: Vec<usize>,
        /// What every winner has.
        won: Option<Json>,
    },
    /// The regions have the same items in every table.
    Converged,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// All of it, save for the key.
    Is(Json),
    /// Some of it.
    Has(Json),
    Absent,
}

/// What came of an expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where it is written; 0 of what holds for every scenario.
    pub line: usize,
    /// The scenario's time.
    pub at_us: u64,
    pub expected: String,
    pub found: String,
    pub met: bool,
}

impl Finding {
    /// In words; what was found instead is on a line of its own.
    pub fn sentence(&self, file: &str) -> String {
        let seconds = self.at_us / 1_000_000;
        let tenths = self.at_us / 100_000 % 10;
        let place = match self.line {
            0 => file.to_owned(),
            line => format!("{file}:{line}"),
        };
        let found = match self.met {
            true => String::new(),
            false => format!("\n           found {}", self.found),
        };
        format!("{place}: at {seconds}.{tenths} s {}{found}", self.expected)
    }
}

/// A request that a client sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub region: usize,
    pub operation: &'static str,
    pub body: Json,
}

/// What it gets back.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Json,
    pub took_us: u64,
}

impl Reply {
    /// The exception's name without its namespace; none of a success.
    pub fn error(&self) -> Option<&str> {
        if self.status < 400 {
            return None;
        }
        let kind = self.body.get("__type").and_then(Json::as_str);
        let kind = kind.unwrap_or("an answer that is no exception");
        Some(kind.rsplit('#').next().unwrap_or(kind))
    }
}

/// The version of an item on one side of a conflict.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// The index of the region that wrote it.
    pub region: usize,
    /// Nothing: it was a deletion.
    pub item: Option<Item>,
}

/// A conflict as a region keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Clash {
    pub id: String,
    pub key: Item,
    pub winner: Side,
    pub loser: Side,
}

/// The cluster cannot be played on any further, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// What a script is played on.
pub trait Cluster {
    /// Waits until all regions serve.
    fn gather(&mut self) -> Result<(), Lost>;
    /// Begins the scenario's time, once all regions have the tables and are connected.
    fn begin(&mut self) -> Result<(), Lost>;
    /// The scenario's time; 0 before it begins.
    fn now_us(&self) -> u64;
    /// The wall clock when the time began.
    fn started_us(&self) -> u64;
    fn pause(&mut self, for_us: u64) -> Result<(), Lost>;
    /// Asks all at the same time, and waits for every reply.
    fn ask(&mut self, requests: Vec<Request>) -> Result<Vec<Reply>, Lost>;
    fn operate(&mut self, operator: &Operator) -> Result<(), Lost>;
    /// The conflicts of a table that a region keeps.
    fn conflicts(&mut self, region: usize, table: &str) -> Result<Vec<Clash>, Lost>;
    /// Heals everything and waits until all regions have everything. How long it took, unless it took too long.
    fn calm(&mut self, within_us: Option<u64>) -> Result<Option<u64>, Lost>;
    /// From durable at the origin to durable elsewhere, of every commit, ascending, where that is known.
    fn lags_us(&mut self) -> Option<Vec<u64>>;
    /// Something happens, in a region or to the cluster.
    fn tell(&mut self, region: Option<usize>, text: &str);
    /// How much longer than in a simulated world things may take.
    fn patience_us(&self) -> u64;
}

/// Where a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub region: RegionId,
    pub regions: Vec<(RegionId, String)>,
}

/// The DynamoDB API, as far as a world needs it.
pub trait Api {
    /// Takes in a request to a region whose store this is.
    fn call(
        &self,
        place: &Place,
        store: Arc<dyn Store>,
        operation: &str,
        body: Vec<u8>,
    ) -> Box<dyn Call>;
}

/// One request on its way through the API.
pub trait Call {
    /// Goes on until it needs a write done or has its answer; `written` is what came of the write before.
    fn go_on(&mut self, written: Option<Result<WriteResponse, ApiError>>) -> Turn;
}

/// What a call wants next.
pub enum Turn {
    Write(Box<WriteRequest>),
    /// Status and body.
    Answer(u16, Vec<u8>),
}
