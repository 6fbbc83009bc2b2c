//! Transports talking over real loopback sockets.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::*;
use crate::replication::Lane;

pub(super) const CLUSTER: [u8; 16] = [3; 16];
pub(super) const NAMES: [&str; 2] = ["us-east-1", "eu-west-1"];
pub(super) const LOW: RegionId = RegionId(0);
pub(super) const HIGH: RegionId = RegionId(1);
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Side {
    pub transport: Transport,
    events: Events,
}

impl Side {
    async fn next(&mut self) -> TransportEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event comes")
            .expect("the transport runs")
    }

    pub async fn quiet(&mut self, ms: u64) {
        let next = tokio::time::timeout(Duration::from_millis(ms), self.events.recv()).await;
        assert!(next.is_err(), "{next:?}");
    }

    pub async fn up(&mut self, peer: RegionId) {
        assert_eq!(self.next().await, TransportEvent::Up(peer));
    }

    pub async fn down(&mut self) -> String {
        match self.next().await {
            TransportEvent::Down(_, reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    pub async fn frame(&mut self) -> Vec<u8> {
        match self.next().await {
            TransportEvent::Frame(_, _, frame) => frame,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn socket() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("bound").to_string();
    (socket, address)
}

fn start(me: usize, socket: UdpSocket, other: &str, ca: &DevCa, certified_as: &str) -> Side {
    let identity = ca.issue(certified_as).expect("issues");
    start_as(me, socket, other, identity)
}

pub(super) fn start_as(me: usize, socket: UdpSocket, other: &str, identity: Identity) -> Side {
    let peer = 1 - me;
    let id = |n: usize| RegionId(u16::try_from(n).expect("small"));
    let config = TransportConfig {
        region: id(me),
        cluster_id: CLUSTER,
        identity,
        socket,
        peers: vec![Peer {
            id: id(peer),
            name: NAMES[peer].to_string(),
            address: other.to_string(),
            delay: Duration::ZERO,
            calls: true,
        }],
    };
    let (transport, events) = Transport::start(config).expect("starts");
    Side { transport, events }
}

async fn pair() -> (Side, Side) {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let ((a, a_address), (b, b_address)) = (socket(), socket());
    let mut low = start(0, a, &b_address, &ca, NAMES[0]);
    let mut high = start(1, b, &a_address, &ca, NAMES[1]);
    low.up(HIGH).await;
    high.up(LOW).await;
    (low, high)
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_both_ways() {
    let (mut low, mut high) = pair().await;
    for n in 0..500_u32 {
        low.transport
            .send(HIGH, Lane::Log, n.to_be_bytes().to_vec());
        high.transport
            .send(LOW, Lane::Control, n.to_be_bytes().to_vec());
    }
    for n in 0..500_u32 {
        let wanted = n.to_be_bytes().to_vec();
        assert_eq!(
            high.next().await,
            TransportEvent::Frame(LOW, Lane::Log, wanted.clone())
        );
        assert_eq!(
            low.next().await,
            TransportEvent::Frame(HIGH, Lane::Control, wanted)
        );
    }
    let large = vec![9; FRAME_BYTES_MAX];
    low.transport.send(HIGH, Lane::Log, large.clone());
    low.transport.send(HIGH, Lane::Log, Vec::new());
    assert_eq!(high.frame().await, large);
    assert_eq!(high.frame().await, Vec::<u8>::new());
}

#[tokio::test]
async fn cut_links_stay_down_until_healed() {
    let (mut low, mut high) = pair().await;
    let cut = LinkFault {
        cut: Cut::Both,
        delay: Duration::ZERO,
    };
    // Cut on the accepting side only: the dialling side must not flap.
    assert!(high.transport.set_fault(LOW, cut));
    assert_eq!(high.down().await, "cut by command");
    low.down().await;
    low.transport.send(HIGH, Lane::Log, b"lost".to_vec());
    low.quiet(1500).await;
    high.quiet(1).await;
    assert!(!low.transport.links()[0].connected);
    high.transport.set_fault(LOW, LinkFault::default());
    low.up(HIGH).await;
    high.up(LOW).await;
    low.transport.send(HIGH, Lane::Log, b"new".to_vec());
    assert_eq!(high.frame().await, b"new");
}

#[tokio::test]
async fn one_way_cut_drops_silently_and_healing_starts_a_new_session() {
    let (mut low, mut high) = pair().await;
    let out = LinkFault {
        cut: Cut::Out,
        delay: Duration::ZERO,
    };
    low.transport.set_fault(HIGH, out);
    low.transport.send(HIGH, Lane::Log, b"dropped".to_vec());
    high.transport.send(LOW, Lane::Log, b"arrives".to_vec());
    assert_eq!(low.frame().await, b"arrives");
    high.quiet(100).await;
    low.transport.set_fault(HIGH, LinkFault::default());
    assert!(low.down().await.contains("healed"));
    high.down().await;
    low.up(HIGH).await;
    high.up(LOW).await;
    low.transport.send(HIGH, Lane::Log, b"again".to_vec());
    assert_eq!(high.frame().await, b"again");
}

#[tokio::test]
async fn delays_keep_order_and_change_for_waiting_frames() {
    let (low, mut high) = pair().await;
    let delay = |ms| LinkFault {
        cut: Cut::None,
        delay: Duration::from_millis(ms),
    };
    low.transport.set_fault(HIGH, delay(150));
    let started = Instant::now();
    low.transport.send(HIGH, Lane::Log, b"1".to_vec());
    low.transport.send(HIGH, Lane::Log, b"2".to_vec());
    assert_eq!(high.frame().await, b"1");
    assert_eq!(high.frame().await, b"2");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(150), "{took:?}");
    low.transport.set_fault(HIGH, delay(3_600_000));
    low.transport.send(HIGH, Lane::Log, b"3".to_vec());
    high.quiet(50).await;
    low.transport.set_fault(HIGH, delay(0));
    low.transport.send(HIGH, Lane::Log, b"4".to_vec());
    assert_eq!(high.frame().await, b"3");
    assert_eq!(high.frame().await, b"4");
}

#[tokio::test]
async fn an_overflowing_queue_ends_the_session() {
    let (mut low, mut high) = pair().await;
    let slow = LinkFault {
        cut: Cut::None,
        delay: PATIENCE * 100,
    };
    low.transport.set_fault(HIGH, slow);
    for _ in 0..=(QUEUE_BYTES_MAX / FRAME_BYTES_MAX) {
        low.transport
            .send(HIGH, Lane::Log, vec![0; FRAME_BYTES_MAX]);
    }
    assert!(low.down().await.contains("wait to be sent"));
    high.down().await;
    low.up(HIGH).await;
    assert_eq!(low.transport.links()[0].queued_bytes, 0);
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_session() {
    let (mut low, _high) = pair().await;
    let long = vec![0; FRAME_BYTES_MAX + 1];
    low.transport.send(HIGH, Lane::Log, long);
    assert!(low.down().await.contains("over the limit"));
}

#[tokio::test]
async fn certificates_of_other_regions_and_other_authorities_are_refused() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let stranger = DevCa::mint(&CLUSTER).expect("mints");
    let cases = [
        // A dialler that is not who it should be, an acceptor that is not, and a foreign CA.
        (&ca, "sa-east-1", NAMES[1]),
        (&ca, NAMES[0], "sa-east-1"),
        (&stranger, NAMES[0], NAMES[1]),
    ];
    for (low_ca, low_name, high_name) in cases {
        let ((a, a_address), (b, b_address)) = (socket(), socket());
        let mut low = start(0, a, &b_address, low_ca, low_name);
        let mut high = start(1, b, &a_address, &ca, high_name);
        low.quiet(400).await;
        high.quiet(1).await;
    }
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let ((a, a_address), (b, b_address)) = (socket(), socket());
    let mut low = start(0, a, &b_address, &ca, NAMES[0]);
    let mut high = start(1, b, &a_address, &ca, NAMES[1]);
    low.up(HIGH).await;
    high.up(LOW).await;
    low.transport.close().await;
    assert!(high.down().await.contains("shutting down"));
    drop(low);
    let again = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let mut low = start(0, again, &b_address, &ca, NAMES[0]);
    high.up(LOW).await;
    low.up(HIGH).await;
    low.transport.send(HIGH, Lane::Control, b"hello".to_vec());
    assert_eq!(high.frame().await, b"hello");
}

#[test]
fn a_killed_peer_that_returns_is_found_at_once() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let identity = ca.issue(NAMES[1]).expect("issues");
    let ((a, a_address), (b, b_address)) = (socket(), socket());
    let runtime = tokio::runtime::Runtime::new().expect("runs");
    let doomed = tokio::runtime::Runtime::new().expect("runs");
    let _entered = runtime.enter();
    let mut low = start(0, a, &b_address, &ca, NAMES[0]);
    let mut high = doomed.block_on(async { start_as(1, b, &a_address, identity.clone()) });
    runtime.block_on(low.up(HIGH));
    doomed.block_on(high.up(LOW));
    // As a process dies: its tasks stop and its socket closes, and nobody is told.
    doomed.shutdown_background();
    drop(high);
    let started = Instant::now();
    let again = loop {
        match UdpSocket::bind(&b_address) {
            Ok(socket) => break socket,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
    };
    runtime.block_on(async {
        let mut high = start_as(1, again, &a_address, identity);
        let reason = low.down().await;
        assert!(reason.contains("reset"), "{reason}");
        low.up(HIGH).await;
        high.up(LOW).await;
    });
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}
