//! The messages between regions, as bytes.
//!
//! One versioned enum in bincode with a byte limit and full consumption of the input; bincode has no
//! schema evolution, so golden bytes in the tests hold every released version still.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::pack::{self, PackError};
use super::ruling::Ruling;
use super::stability::Watermarks;
use crate::clock::{RegionId, Stamp};
use crate::replica::buckets::Offer;
use crate::replica::catalog::TableUid;
use crate::replica::mutation::{Frontier, GroupId, LogId};
use crate::replica::rescue::{Outcome, Tail};
use crate::replica::snapshot::{Part, Place};

/// The wire protocol spoken by this build. Peers of another one are turned away.
pub const PROTOCOL: u16 = 7;

/// The longest frame that is written or read: a batch of one transaction of 4 MB and its copies of
/// keys fits many times over. The transport may not have a lower limit.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<FRAME_BYTES_MAX>,
> = bincode::config::standard().with_limit::<FRAME_BYTES_MAX>();

/// Why bytes from a peer are not a message. Ends the session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("a frame does not decode: {0}")]
    Malformed(#[from] bincode::error::DecodeError),
    #[error("a frame has {0} bytes after its message")]
    Trailing(usize),
    #[error("a compressed frame is not what it says: {0}")]
    Packed(#[from] PackError),
    #[error("a compressed frame holds another compressed frame")]
    Nested,
}

/// The first message of a session, from both sides.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    pub protocol: u16,
    pub cluster_id: [u8; 16],
    pub region: RegionId,
    pub incarnation: u32,
    /// Of the sender's record of the members, and what tells two records of one epoch apart.
    pub epoch: u64,
    pub members_digest: u64,
    /// What the sender has durably applied, of the logs that the receiver's groups share.
    pub frontier: Frontier,
    /// What the sender has received of the receiver's own logs, applied or not: the amnesia check
    /// (replication.md section 11).
    pub seen_of_you: Frontier,
    /// Whether the sender has accepted the receiver's `Hello` in this session. `false` asks for one.
    pub heard_you: bool,
    /// The sender lacks nothing that it knows of: others may be given copies by it.
    pub whole: bool,
    /// The sender lapsed, and holds nothing any more that it shares with others.
    pub clean: bool,
}

/// Sent every 200 ms.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Heartbeat {
    pub frontier: Frontier,
    /// Every commit of the sender stamped at or below this is covered by `frontier`.
    pub watermark: Stamp,
    /// The same of other origins, by group: what `frontier` holds of each.
    pub others: Watermarks,
    /// As in [`Hello`].
    pub whole: bool,
    pub epoch: u64,
    /// The sender's monotonic clock; means nothing to the receiver, who echoes it.
    pub sent_us: u64,
    /// The newest `sent_us` heard from the receiver, and how long ago that was.
    pub echo: Option<Echo>,
}

/// A peer's `sent_us` handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Echo {
    pub sent_us: u64,
    pub held_us: u64,
}

/// A bucket whose items are asked for, and the row of it after which; `None` = from its beginning.
pub type Asked = (u16, Option<Vec<u8>>);

/// What one region says to another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    Hello(Hello),
    Heartbeat(Heartbeat),
    /// Entries of the sender's durable frontier that moved.
    Ack {
        frontier: Frontier,
    },
    /// Asks for the commits of `log` from seq `from` on: at most `credit` bytes, or one commit.
    Want {
        log: LogId,
        from: u64,
        credit: u64,
    },
    /// Sealed commits in seq order, byte for byte as their origin sealed them.
    Batch {
        log: LogId,
        first_seq: u64,
        commits: Vec<Vec<u8>>,
        /// The last batch that answers a `Want` for another region's log.
        done: bool,
    },
    /// The commits of `log` before seq `start` are nowhere to be had: the sender has dropped them.
    Gone {
        log: LogId,
        start: u64,
    },
    /// Asks for the part of a copy of `group` that begins after `after`.
    Fetch {
        group: GroupId,
        after: Option<Place>,
    },
    /// The part asked for.
    Chunk {
        group: GroupId,
        after: Option<Place>,
        part: Part,
    },
    /// Asks for the receiver's wall time.
    Probe {
        /// The sender's monotonic clock; means nothing to the receiver, who hands it back.
        sent_us: u64,
    },
    ProbeReply {
        sent_us: u64,
        /// The sender's wall clock when it heard the probe, and when it answered.
        heard_wall_us: u64,
        answered_wall_us: u64,
    },
    /// The sums of a table's groups of buckets (replication.md section 9).
    Sums {
        table: TableUid,
        groups: Vec<u128>,
    },
    /// Which groups differ at the sender, and its buckets in them.
    BucketSums {
        table: TableUid,
        differ: Vec<bool>,
        buckets: BTreeMap<u16, u128>,
    },
    /// Asks for what the receiver has in these buckets, in each after that row of it.
    AskItems {
        table: TableUid,
        buckets: Vec<Asked>,
        /// When it was asked, on the asker's monotonic clock; the offers say it again.
        asked_us: u64,
    },
    Items(Offer),
    /// The sender's record of the members, as [`Manifest::encode`](crate::replica::manifest::Manifest::encode)
    /// has it: to a peer whose epoch is lower.
    Manifest(Vec<u8>),
    /// About the record of the members of that epoch, which is not decided yet.
    Ruling {
        epoch: u64,
        said: Ruling,
    },
    /// A member that lapsed asks what of its logs of a group nobody else has.
    TailAsk {
        group: GroupId,
        frontier: Frontier,
    },
    /// The commits from these on.
    TailFrom {
        group: GroupId,
        from: BTreeMap<LogId, u64>,
    },
    /// Some of them.
    Tail(Tail),
    /// It was decided about them.
    TailTaken {
        log: LogId,
        upto: u64,
        outcome: Outcome,
    },
}

/// The envelope: its discriminant is the schema version.
#[derive(Encode, Decode)]
enum Frame {
    V1(Message),
    /// A frame as an LZ4 block, and the length that it had.
    Packed {
        raw_bytes: u32,
        block: Vec<u8>,
    },
}

/// What most frames take that carry no commits.
const SMALL_BYTES: usize = 192;

/// The frame that carries `message`; `None` when it would exceed [`FRAME_BYTES_MAX`].
pub fn encode(message: Message) -> Option<Vec<u8>> {
    // With room for it: to find out how much it takes would be to encode it twice.
    let commits = match &message {
        Message::Batch { commits, .. } => commits.iter().map(|sealed| sealed.len() + 8).sum(),
        _ => 0,
    };
    let mut bytes = Vec::with_capacity(SMALL_BYTES + commits);
    bincode::encode_into_std_write(Frame::V1(message), &mut bytes, CONFIG).ok()?;
    (bytes.len() <= FRAME_BYTES_MAX).then_some(bytes)
}

/// The same frame compressed, or itself where that would gain little.
pub fn pack(frame: Vec<u8>) -> Vec<u8> {
    let Some((raw_bytes, block)) = pack::pack(&frame) else {
        return frame;
    };
    let packed = bincode::encode_to_vec(Frame::Packed { raw_bytes, block }, CONFIG);
    // It fits the limit, as the longer one did.
    packed.unwrap_or(frame)
}

/// The message in a frame, which must be exactly that.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    match frame(bytes)? {
        Frame::V1(message) => Ok(message),
        Frame::Packed { raw_bytes, block } => match frame(&pack::unpack(raw_bytes, &block)?)? {
            Frame::V1(message) => Ok(message),
            Frame::Packed { .. } => Err(WireError::Nested),
        },
    }
}

fn frame(bytes: &[u8]) -> Result<Frame, WireError> {
    let (frame, used) = bincode::decode_from_slice(bytes, CONFIG)?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(frame),
        rest => Err(WireError::Trailing(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::mutation::Origin;
    use crate::replica::vote::Ballot;
    use proptest::prelude::*;

    fn log(group: u64, region: u16, incarnation: u32) -> LogId {
        LogId {
            group: GroupId(group),
            origin: Origin {
                region: RegionId(region),
                incarnation,
            },
        }
    }

    fn hello() -> Message {
        Message::Hello(Hello {
            protocol: PROTOCOL,
            cluster_id: [0xC1; 16],
            region: RegionId(2),
            incarnation: 3,
            epoch: 4,
            members_digest: 5,
            frontier: Frontier::from([(log(7, 1, 1), 300)]),
            seen_of_you: Frontier::new(),
            heard_you: true,
            whole: true,
            clean: false,
        })
    }

    fn heartbeat() -> Message {
        Message::Heartbeat(Heartbeat {
            frontier: Frontier::from([(log(7, 1, 1), 5), (log(7, 2, 1), 6)]),
            watermark: Stamp {
                physical_us: 9,
                logical: 8,
                region: RegionId(2),
            },
            others: Watermarks::from([((GroupId(7), RegionId(1)), Stamp::MIN)]),
            whole: false,
            epoch: 4,
            sent_us: 100_000,
            echo: Some(Echo {
                sent_us: 1,
                held_us: 2,
            }),
        })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden_bytes_of_protocol_7() {
        let ack = Message::Ack {
            frontier: Frontier::from([(log(7, 1, 1), 5)]),
        };
        let want = Message::Want {
            log: log(7, 1, 1),
            from: 6,
            credit: 1 << 20,
        };
        let batch = Message::Batch {
            log: log(7, 1, 1),
            first_seq: 6,
            commits: vec![vec![0xAA, 0xBB], vec![]],
            done: true,
        };
        let gone = Message::Gone {
            log: log(7, 1, 1),
            start: 9,
        };
        let fetch = Message::Fetch {
            group: GroupId(7),
            after: Some(Place::Table("t".into())),
        };
        let chunk = Message::Chunk {
            group: GroupId(7),
            after: None,
            part: Part {
                next: Some(Place::Item(vec![1])),
                ..Part::default()
            },
        };
        let reply = Message::ProbeReply {
            sent_us: 9,
            heard_wall_us: 7,
            answered_wall_us: 8,
        };
        let sums = Message::Sums {
            table: TableUid(9),
            groups: vec![5, 6],
        };
        let bucket_sums = Message::BucketSums {
            table: TableUid(9),
            differ: vec![false, true],
            buckets: BTreeMap::from([(256, 7)]),
        };
        let offer = Offer {
            table: TableUid(9),
            bucket: 1,
            asked_us: 8,
            after: None,
            items: Vec::new(),
            next: Some(vec![7]),
        };
        let ballot = Ballot {
            round: 1,
            region: RegionId(2),
        };
        let said = Ruling::Accept {
            ballot,
            value: vec![9, 9],
        };
        let ruling = Message::Ruling { epoch: 4, said };
        let tail_ask = Message::TailAsk {
            group: GroupId(7),
            frontier: Frontier::from([(log(7, 1, 1), 5)]),
        };
        let tail_from = Message::TailFrom {
            group: GroupId(7),
            from: BTreeMap::from([(log(7, 1, 1), 6)]),
        };
        let tail = Tail {
            log: log(7, 1, 1),
            context: Frontier::new(),
            commits: vec![vec![0xAA]],
        };
        let tail_taken = Message::TailTaken {
            log: log(7, 1, 1),
            upto: 6,
            outcome: Outcome {
                written: 1,
                conflicts: 2,
                tables: 0,
            },
        };
        let golden = [
            (hello(), GOLDEN_HELLO),
            (
                heartbeat(),
                "00010207010105070201060908020107010000000004fca0860100010102",
            ),
            (ack, "00020107010105"),
            (want, "000307010106fc00001000"),
            (batch, "0004070101060202aabb0001"),
            (gone, "000507010109"),
            (fetch, "00060701000174"),
            (chunk, "0007070000000001010101"),
            (Message::Probe { sent_us: 9 }, "000809"),
            (reply, "0009090708"),
            (sums, "000a09020506"),
            (bucket_sums, "000b0902000101fb000107"),
            (
                Message::AskItems {
                    table: TableUid(9),
                    buckets: vec![(1, Some(vec![7]))],
                    asked_us: 8,
                },
                "000c09010101010708",
            ),
            (Message::Items(offer), "000d0901080000010107"),
            (Message::Manifest(vec![1, 2]), "000e020102"),
            (ruling, "000f04040102020909"),
            (tail_ask, "0010070107010105"),
            (tail_from, "0011070107010106"),
            (Message::Tail(tail), "0012070101000101aa"),
            (tail_taken, "001307010106010200"),
        ];
        for (message, bytes) in golden {
            let encoded = encode(message.clone()).expect("is short");
            assert_eq!(hex(&encoded), bytes, "{message:?}");
            assert_eq!(decode(&encoded).expect("just encoded"), message);
        }
    }

    const GOLDEN_HELLO: &str =
        "000007c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10203040501070101fb2c0100010100";

    #[test]
    fn nothing_may_follow_the_message() {
        let mut bytes = encode(hello()).expect("is short");
        bytes.push(0);
        assert!(matches!(decode(&bytes), Err(WireError::Trailing(1))));
    }

    /// A batch whose frame is worth compressing.
    fn long_batch() -> Message {
        Message::Batch {
            log: log(7, 1, 1),
            first_seq: 6,
            commits: vec![vec![0xAA; 2_000]],
            done: false,
        }
    }

    /// What a compressor makes of a frame may differ between its versions; what it means may not.
    #[test]
    fn golden_bytes_of_a_compressed_batch() {
        let golden: Vec<u8> = (0..GOLDEN_PACKED.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&GOLDEN_PACKED[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        assert_eq!(decode(&golden).expect("a frame"), long_batch());
        let packed = pack(encode(long_batch()).expect("is short"));
        assert!(packed.len() < 50, "{}", hex(&packed));
        assert_eq!(decode(&packed).expect("just packed"), long_batch());
    }

    /// The kind of frame, 2,011 bytes, a block of 29: 11 literals, 1,994 like the last of them, 6 literals.
    const GOLDEN_PACKED: &str =
        "01fbdb071dbf00040701010601fbd007aa0100ffffffffffffffbe60aaaaaaaaaa00";

    #[test]
    fn what_is_compressed_is_no_more_and_no_less_than_it_says() {
        let frame = encode(long_batch()).expect("is short");
        let length = u32::try_from(frame.len()).expect("is short");
        let (_, block) = pack::pack(&frame).expect("it gains");
        let decoded = |raw_bytes: u32, block: Vec<u8>| {
            let packed = Frame::Packed { raw_bytes, block };
            decode(&bincode::encode_to_vec(packed, CONFIG).expect("is short"))
        };
        assert_eq!(decoded(length, block.clone()).expect("fits"), long_batch());
        for wrong in [0, 1, length - 1, length + 1, u32::MAX] {
            let error = decoded(wrong, block.clone()).expect_err("lies");
            assert!(matches!(error, WireError::Packed(_)), "{wrong}: {error}");
        }
        let twice = pack::pack(&pack(vec![7; 100_000])).map(|(_, block)| block);
        assert_eq!(twice, None, "too short to be compressed again");
        let inner = Frame::Packed {
            raw_bytes: length,
            block,
        };
        let inner = bincode::encode_to_vec(inner, CONFIG).expect("is short");
        let literal = lz4_flex::block::compress(&inner);
        let error = decoded(u32::try_from(inner.len()).expect("is short"), literal);
        assert!(matches!(error, Err(WireError::Nested)), "{error:?}");
    }

    #[test]
    fn an_unknown_version_is_malformed() {
        let mut bytes = encode(hello()).expect("is short");
        bytes[0] = 2;
        assert!(matches!(decode(&bytes), Err(WireError::Malformed(_))));
    }

    #[test]
    fn a_length_beyond_the_limit_allocates_nothing() {
        // A batch that claims 2^60 commits.
        let bytes = [0, 4, 7, 1, 1, 6, 253, 0, 0, 0, 0, 0, 0, 0, 16];
        assert!(matches!(decode(&bytes), Err(WireError::Malformed(_))));
        let long = Message::Batch {
            log: log(7, 1, 1),
            first_seq: 1,
            commits: vec![vec![0; FRAME_BYTES_MAX]],
            done: false,
        };
        assert_eq!(encode(long), None);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0usize..80, flip in 1u8..) {
            let packed = pack(encode(long_batch()).expect("is short"));
            let short = [hello(), heartbeat()].map(|m| encode(m).expect("is short"));
            for mut bytes in short.into_iter().chain([packed]) {
                let at = at % bytes.len();
                bytes[at] ^= flip;
                let _ = decode(&bytes);
            }
        }
    }
}
