//! Who is refused, and that both sides are told why (replication.md section 18): real transports.

use std::future::Future;
use std::time::{Duration, Instant};

use super::tests::{CLUSTER, HIGH, LOW, NAMES, PATIENCE, Side, socket, start_as};
use super::*;

const DAY_S: u64 = 86_400;

fn terms(role: Role, valid_s: Option<(u64, u64)>) -> Terms {
    Terms { role, valid_s }
}

fn expired() -> Option<(u64, u64)> {
    Some((now_s() - 10 * DAY_S, now_s() - DAY_S))
}

/// Two sides that begin with these identities.
fn sides(low: Identity, high: Identity) -> (Side, Side) {
    let ((a, a_address), (b, b_address)) = (socket(), socket());
    (
        start_as(0, a, &b_address, low),
        start_as(1, b, &a_address, high),
    )
}

async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What the side's status says of its only link, once it says something.
fn refusal(side: &Side) -> impl Future<Output = String> {
    let transport = side.transport.clone();
    async move {
        let last = || transport.links()[0].refusal.clone().map(|r| r.reason);
        until("a refusal", last).await
    }
}

/// Neither side connects, and each says this much of it.
async fn refused(low: Identity, high: Identity, low_says: &[&str], high_says: &[&str]) {
    let (mut low, mut high) = sides(low, high);
    let (at_low, at_high) = (refusal(&low).await, refusal(&high).await);
    for (said, wanted) in [(at_low, low_says), (at_high, high_says)] {
        for words in wanted {
            assert!(said.contains(words), "'{words}' is not in '{said}'");
        }
    }
    low.quiet(1).await;
    high.quiet(1).await;
    assert!(!low.transport.links()[0].connected && !high.transport.links()[0].connected);
}

const BY_US: &str = "this region refused it: ";
const BY_PEER: &str = "it refused this region: ";

#[tokio::test]
async fn an_expired_certificate_is_refused_in_words() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let good = |name| ca.issue(name).expect("issues");
    let late = |name| {
        ca.issue_with(name, terms(Role::Member, expired()))
            .expect("issues")
    };
    // The dialling side's ...
    let words = "the certificate of 'us-east-1' expired at ";
    refused(
        late(NAMES[0]),
        good(NAMES[1]),
        &[BY_PEER, words],
        &[BY_US, words],
    )
    .await;
    // ... and the accepting side's.
    let words = "the certificate of 'eu-west-1' expired at ";
    refused(
        good(NAMES[0]),
        late(NAMES[1]),
        &[BY_US, words],
        &[BY_PEER, words],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_words() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let other = DevCa::mint(&CLUSTER).expect("mints");
    let (us, eu) = (other.issue(NAMES[0]), ca.issue(NAMES[1]));
    // Each is a stranger to the other; the dialling side sees a certificate first.
    let words = "the certificate of 'eu-west-1' was not signed by this cluster's authority";
    refused(
        us.expect("issues"),
        eu.expect("issues"),
        &[BY_US, words],
        &[BY_PEER, words],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused_in_words() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let other = DevCa::mint(&[4; 16]).expect("mints");
    let (us, eu) = (ca.issue(NAMES[0]), other.issue(NAMES[1]));
    let words = "the certificate of 'eu-west-1' is of cluster 04040404";
    refused(
        us.expect("issues"),
        eu.expect("issues"),
        &[BY_US, words],
        &[BY_PEER, words],
    )
    .await;
}

#[tokio::test]
async fn a_region_that_claims_to_be_another_is_refused_in_words() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let good = |name| ca.issue(name).expect("issues");
    // Dialled as eu-west-1, it shows the certificate of sa-east-1.
    let words = "of region 'sa-east-1' where 'eu-west-1' should be";
    refused(
        good(NAMES[0]),
        good("sa-east-1"),
        &[BY_US, words],
        &[BY_PEER, words],
    )
    .await;
    // It dials as us-east-1 would, with the certificate of sa-east-1: a stranger to the side that accepts.
    let (low, high) = sides(good("sa-east-1"), good(NAMES[1]));
    let words = "of region 'sa-east-1', which is no member of this cluster";
    let said = refusal(&low).await;
    assert!(said.contains(BY_PEER) && said.contains(words), "{said}");
    let stranger = || high.transport.stranger().map(|r| r.reason);
    let said = until("a stranger", stranger).await;
    assert!(said.contains(BY_US) && said.contains(words), "{said}");
}

#[tokio::test]
async fn a_role_that_may_not_originate_is_refused_in_words() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let good = |name| ca.issue(name).expect("issues");
    for role in [Role::Observer, Role::Witness] {
        let limited = |name| ca.issue_with(name, terms(role, None)).expect("issues");
        let words = format!("'us-east-1' has the role {role}, which may not originate commits");
        refused(
            limited(NAMES[0]),
            good(NAMES[1]),
            &[BY_PEER, &words],
            &[BY_US, &words],
        )
        .await;
        let words = format!("'eu-west-1' has the role {role}, which may not originate commits");
        refused(
            good(NAMES[0]),
            limited(NAMES[1]),
            &[BY_US, &words],
            &[BY_PEER, &words],
        )
        .await;
    }
}

#[tokio::test]
async fn a_session_that_is_refused_tells_the_peer_why() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let good = |name| ca.issue(name).expect("issues");
    let (mut low, mut high) = sides(good(NAMES[0]), good(NAMES[1]));
    low.up(HIGH).await;
    high.up(LOW).await;
    high.transport.disconnect(LOW, "its store is older".into());
    assert_eq!(high.down().await, "its store is older");
    assert_eq!(
        low.down().await,
        "it refused this region: its store is older"
    );
    assert!(refusal(&low).await.contains("its store is older"));
    // Once they are connected again there is nothing to tell.
    low.up(HIGH).await;
    assert_eq!(low.transport.links()[0].refusal, None);
}

#[tokio::test]
async fn a_renewed_certificate_connects_without_a_restart_and_ends_no_session() {
    let ca = DevCa::mint(&CLUSTER).expect("mints");
    let good = |name| ca.issue(name).expect("issues");
    let late = ca
        .issue_with(NAMES[0], terms(Role::Member, expired()))
        .expect("issues");
    let (mut low, mut high) = sides(late, good(NAMES[1]));
    refusal(&low).await;
    low.transport.set_identity(&good(NAMES[0])).expect("fits");
    low.up(HIGH).await;
    high.up(LOW).await;
    // A whole new authority: the session that stands goes on.
    let next = DevCa::mint(&CLUSTER).expect("mints");
    for (side, name) in [(&low, NAMES[0]), (&high, NAMES[1])] {
        side.transport
            .set_identity(&next.issue(name).expect("issues"))
            .expect("fits");
    }
    low.transport.send(HIGH, Lane::Log, b"on".to_vec());
    assert_eq!(high.frame().await, b"on");
    // And the next one stands on the new authority, in both directions.
    low.transport.disconnect(HIGH, "again".into());
    low.down().await;
    high.down().await;
    low.up(HIGH).await;
    high.up(LOW).await;
}

#[tokio::test]
async fn two_authorities_are_trusted_while_one_follows_the_other() {
    let (old, new) = (DevCa::mint(&CLUSTER), DevCa::mint(&CLUSTER));
    let (old, new) = (old.expect("mints"), new.expect("mints"));
    let (mut us, mut eu) = (
        old.issue(NAMES[0]).expect("issues"),
        new.issue(NAMES[1]).expect("issues"),
    );
    us.roots.extend(eu.roots.clone());
    eu.roots.clone_from(&us.roots);
    let (mut low, mut high) = sides(us, eu);
    low.up(HIGH).await;
    high.up(LOW).await;
}
