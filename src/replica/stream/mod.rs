//! Streams: a record of every visible change of a table, written in the transaction that makes the change
//! (streams-ttl-backup.md section 1, global-tables.md section 5.3).
//!
//! Each region has streams of its own, of what changes there: local and replicated writes alike. A record
//! has the region's next log sequence number (LSN), dense over all streams of the region (I12); a version
//! that lost makes no record, nor does one that leaves the item as it was.
//!
//! A stream has one open shard, so every item's records are in one lineage of shards; it is replaced now
//! and then, since readers expect it. Records live in `changes` by (shard, LSN): reading a shard is one scan.
//! The catalog of streams follows the tables ([`catalog`]); [`upkeep`] trims, rotates and forgets.
//!
//! Time of records never goes back: each is stamped no earlier than the one before. The first LSN of every
//! minute is kept, which is how trimming and AT_TIMESTAMP find their way.

mod catalog;
mod change;
mod label;
mod read;
mod upkeep;
mod verify;

pub use catalog::{Shard, Stream, View};
pub use change::{EventName, StreamRecord};
pub use label::label;
pub use read::{Bounds, RecordPage, all_records, at_time, bounds, list, of_table, page};

pub(super) use change::Changes;
pub(super) use verify::check;
