//! One connection from its two lanes to its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendDatagramError, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::faults::{Cut, LinkFault};
use super::frame::{
    FRAME_BYTES_MAX, FrameError, LANES, lane_number, read_frame, read_lane, write_frame, write_lane,
};
use super::refusal::{Failure, REFUSED_CODE};
use super::{INBOX_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::clock::RegionId;
use crate::replication::Lane;

/// How long a peer may take to open its lanes.
const LANES_TIMEOUT: Duration = Duration::from_secs(5);
/// The QUIC application code of every close; the reason says the rest.
const CLOSE_CODE: u32 = 1;
const LANE_PRIORITY_CONTROL: i32 = 1;

/// What a session tells [`super::Events`].
pub(super) enum Internal {
    Up(RegionId, Arc<Outgoing>),
    Down(RegionId, String),
    /// The permit is the frame's share of the inbox.
    Frame(RegionId, Lane, Vec<u8>, OwnedSemaphorePermit),
}

/// A frame that waits for its lane, and since when.
struct Waiting {
    since: Instant,
    frame: Vec<u8>,
}

/// The sending side of a session, held by the transport while the session is up.
pub(super) struct Outgoing {
    lanes: BTreeMap<u8, mpsc::UnboundedSender<Waiting>>,
    queued_bytes: AtomicUsize,
    /// Frames were dropped by a one-way cut.
    lossy: AtomicBool,
    end: CancellationToken,
    end_reason: Mutex<Option<String>>,
    /// The session ends because this region refuses the peer.
    refused: AtomicBool,
    connection: Connection,
}

impl Outgoing {
    /// Queues a frame; what does not fit ends the session.
    pub fn send(&self, lane: Lane, frame: Vec<u8>) {
        let length = frame.len();
        if length > FRAME_BYTES_MAX {
            return self.end(FrameError::TooLong(length).to_string());
        }
        let queued = self.queued_bytes.fetch_add(length, Ordering::Relaxed) + length;
        if queued > QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return self.end(format!("over {QUEUE_BYTES_MAX} bytes wait to be sent"));
        }
        let since = Instant::now();
        if let Some(queue) = self.lanes.get(&lane_number(lane)) {
            // A closed queue means that the session is ending, which `Down` will tell.
            let _ = queue.send(Waiting { since, frame });
        }
    }

    /// Drops a frame, remembering that this session now has a gap.
    pub fn lose(&self) {
        self.lossy.store(true, Ordering::Relaxed);
    }

    /// Ends the session. The first reason is the one told.
    pub fn end(&self, reason: String) {
        self.end_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        self.end.cancel();
    }

    /// Ends the session and tells the peer that it is refused.
    pub fn refuse(&self, reason: String) {
        self.refused.store(true, Ordering::Relaxed);
        self.end(reason);
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// QUIC's own estimate, without injected delay.
    pub fn path_rtt(&self) -> Duration {
        self.connection.rtt()
    }

    fn reason(&self) -> String {
        self.end_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .unwrap_or_else(|| "ended".to_string())
    }
}

/// What a session needs from its surroundings.
pub(super) struct Surroundings<'a> {
    pub peer: RegionId,
    pub faults: watch::Receiver<LinkFault>,
    pub events: &'a mpsc::Sender<Internal>,
    pub shutdown: &'a CancellationToken,
}

/// Runs `connection` until it ends, for whatever reason, or `superseded` brings a newer one. Says
/// `Up` once all lanes are there in both directions, and `Down` exactly when it said `Up`.
pub(super) async fn run(
    connection: Connection,
    mut around: Surroundings<'_>,
    superseded: &mut mpsc::Receiver<Connection>,
) -> (String, Option<Connection>) {
    let lanes = tokio::select! {
        lanes = timeout(LANES_TIMEOUT, open_lanes(&connection)) => lanes,
        () = around.shutdown.cancelled() => return (close(&connection, "shutting down"), None),
    };
    let (sending, receiving) = match lanes {
        Ok(Ok(lanes)) => lanes,
        Ok(Err(error)) => {
            let lost = connection.close_reason().map(|c| ended_by(&c));
            return (
                lost.unwrap_or_else(|| close(&connection, &error.to_string())),
                None,
            );
        }
        Err(_elapsed) => return (close(&connection, "the lanes took too long"), None),
    };
    let mut tasks = JoinSet::new();
    let outgoing = start_writers(&connection, sending, &around.faults, &mut tasks);
    let up = Internal::Up(around.peer, Arc::clone(&outgoing));
    if around.events.send(up).await.is_err() {
        return (close(&connection, "nobody listens"), None);
    }
    start_readers(&around, &connection, receiving, &mut tasks);
    let (reason, next) =
        watch_over(&connection, &mut around, &outgoing, superseded, &mut tasks).await;
    if connection.close_reason().is_some() {
        // Closing it here too would hide who closed it, and why.
    } else if outgoing.refused.load(Ordering::Relaxed) {
        refuse(&connection, &reason);
    } else {
        close(&connection, &reason);
    }
    // Readers are gone before `Down` is said, so no frame follows it.
    tasks.shutdown().await;
    let down = Internal::Down(around.peer, reason.clone());
    let _ = around.events.send(down).await;
    (reason, next)
}

async fn watch_over(
    connection: &Connection,
    around: &mut Surroundings<'_>,
    outgoing: &Outgoing,
    superseded: &mut mpsc::Receiver<Connection>,
    tasks: &mut JoinSet<FrameError>,
) -> (String, Option<Connection>) {
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                // A lost lane is most often a lost connection, which knows better why.
                let lane = ended.map_or_else(|error| error.to_string(), |error| error.to_string());
                return (connection.close_reason().map_or(lane, |c| ended_by(&c)), None);
            }
            error = connection.closed() => return (ended_by(&error), None),
            () = outgoing.end.cancelled() => return (outgoing.reason(), None),
            Some(next) = superseded.recv() => {
                return ("the peer connected anew".to_string(), Some(next));
            }
            () = around.shutdown.cancelled() => return ("shutting down".to_string(), None),
            changed = around.faults.changed() => {
                let cut = around.faults.borrow_and_update().cut;
                if changed.is_err() || cut == Cut::Both {
                    return ("cut by command".to_string(), None);
                }
                if cut == Cut::None && outgoing.lossy.load(Ordering::Relaxed) {
                    return ("a one-way cut was healed: starting anew".to_string(), None);
                }
            }
        }
    }
}

type Sending = Vec<(Lane, SendStream)>;
type Receiving = Vec<(Lane, RecvStream)>;

async fn open_lanes(connection: &Connection) -> Result<(Sending, Receiving), FrameError> {
    let lost = |error: quinn::ConnectionError| FrameError::Lost(error.to_string());
    let mut sending = Vec::with_capacity(LANES.len());
    for lane in LANES {
        let mut stream = connection.open_uni().await.map_err(lost)?;
        if matches!(lane, Lane::Control) {
            // Fails only on a stream that is closed already, which the next write will say.
            let _ = stream.set_priority(LANE_PRIORITY_CONTROL);
        }
        write_lane(&mut stream, lane).await?;
        sending.push((lane, stream));
    }
    let mut receiving = BTreeMap::new();
    while receiving.len() < LANES.len() {
        let mut stream = connection.accept_uni().await.map_err(lost)?;
        let lane = read_lane(&mut stream).await?;
        if receiving
            .insert(lane_number(lane), (lane, stream))
            .is_some()
        {
            return Err(FrameError::UnknownLane(lane_number(lane)));
        }
    }
    Ok((sending, receiving.into_values().collect()))
}

fn start_writers(
    connection: &Connection,
    sending: Sending,
    faults: &watch::Receiver<LinkFault>,
    tasks: &mut JoinSet<FrameError>,
) -> Arc<Outgoing> {
    let mut lanes = BTreeMap::new();
    let mut queues = Vec::with_capacity(sending.len());
    for (lane, stream) in sending {
        let (sender, queue) = mpsc::unbounded_channel();
        lanes.insert(lane_number(lane), sender);
        queues.push((stream, queue));
    }
    let (sender, probes) = mpsc::unbounded_channel();
    lanes.insert(lane_number(Lane::Probe), sender);
    let outgoing = Arc::new(Outgoing {
        lanes,
        queued_bytes: AtomicUsize::new(0),
        lossy: AtomicBool::new(false),
        end: CancellationToken::new(),
        end_reason: Mutex::new(None),
        refused: AtomicBool::new(false),
        connection: connection.clone(),
    });
    tasks.spawn(write_datagrams(
        probes,
        faults.clone(),
        Arc::clone(&outgoing),
    ));
    for (stream, queue) in queues {
        tasks.spawn(write_lane_frames(
            stream,
            queue,
            faults.clone(),
            Arc::clone(&outgoing),
        ));
    }
    outgoing
}

async fn write_lane_frames(
    mut stream: SendStream,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
    mut faults: watch::Receiver<LinkFault>,
    outgoing: Arc<Outgoing>,
) -> FrameError {
    while let Some(waiting) = queue.recv().await {
        wait_out_delay(waiting.since, &mut faults).await;
        let length = waiting.frame.len();
        let written = write_frame(&mut stream, waiting.frame).await;
        outgoing.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        if let Err(error) = written {
            return error;
        }
    }
    FrameError::Closed
}

/// Probes, each in a datagram of its own; one that cannot be sent is lost, which is all a datagram promises.
async fn write_datagrams(
    mut queue: mpsc::UnboundedReceiver<Waiting>,
    mut faults: watch::Receiver<LinkFault>,
    outgoing: Arc<Outgoing>,
) -> FrameError {
    while let Some(waiting) = queue.recv().await {
        wait_out_delay(waiting.since, &mut faults).await;
        let length = waiting.frame.len();
        let sent = outgoing.connection.send_datagram(waiting.frame.into());
        outgoing.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        if let Err(SendDatagramError::ConnectionLost(error)) = sent {
            return FrameError::Lost(error.to_string());
        }
    }
    FrameError::Closed
}

/// Waits until a frame queued at `since` is due under the delay of the moment, which may change.
async fn wait_out_delay(since: Instant, faults: &mut watch::Receiver<LinkFault>) {
    loop {
        let due = since + faults.borrow_and_update().delay;
        if due <= Instant::now() {
            return;
        }
        tokio::select! {
            () = sleep_until(due) => return,
            changed = faults.changed() => if changed.is_err() { return },
        }
    }
}

fn start_readers(
    around: &Surroundings<'_>,
    connection: &Connection,
    receiving: Receiving,
    tasks: &mut JoinSet<FrameError>,
) {
    let budget = Arc::new(Semaphore::new(INBOX_BYTES_MAX));
    tasks.spawn(read_datagrams(
        around.peer,
        connection.clone(),
        around.events.clone(),
        Arc::clone(&budget),
    ));
    for (lane, mut stream) in receiving {
        let (peer, events, budget) = (around.peer, around.events.clone(), Arc::clone(&budget));
        tasks.spawn(async move {
            loop {
                let (frame, permit) = match read_frame(&mut stream, &budget).await {
                    Ok(read) => read,
                    Err(error) => return error,
                };
                let event = Internal::Frame(peer, lane, frame, permit);
                if events.send(event).await.is_err() {
                    return FrameError::Lost("nobody listens".to_string());
                }
            }
        });
    }
}

/// Datagrams come while there is room for them, and are lost otherwise.
async fn read_datagrams(
    peer: RegionId,
    connection: Connection,
    events: mpsc::Sender<Internal>,
    budget: Arc<Semaphore>,
) -> FrameError {
    loop {
        let datagram = match connection.read_datagram().await {
            Ok(datagram) => datagram,
            Err(error) => return FrameError::Lost(error.to_string()),
        };
        let length = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&budget).try_acquire_many_owned(length) else {
            continue;
        };
        let event = Internal::Frame(peer, Lane::Probe, datagram.to_vec(), permit);
        if events.send(event).await.is_err() {
            return FrameError::Lost("nobody listens".to_string());
        }
    }
}

/// Closes with a reason that the peer can show, and hands the reason back.
pub(super) fn close(connection: &Connection, reason: &str) -> String {
    connection.close(VarInt::from_u32(CLOSE_CODE), reason.as_bytes());
    reason.to_string()
}

/// Closes as [`close`] does, in a way that tells the peer that it is refused.
pub(super) fn refuse(connection: &Connection, reason: &str) -> String {
    connection.close(VarInt::from_u32(REFUSED_CODE), reason.as_bytes());
    reason.to_string()
}

/// Why a connection ended, as the log says it.
fn ended_by(error: &ConnectionError) -> String {
    match Failure::of(error) {
        Failure::RefusedByPeer(reason) => format!("it refused this region: {reason}"),
        Failure::Refused(reason) => format!("this region refused it: {reason}"),
        Failure::Other(reason) => reason,
    }
}
