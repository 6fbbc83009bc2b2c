//! One region in memory, answering request after request: what the targets drive.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use meridian::api::{self, Backend, Keys, RegionInfo, Regions, WriteFuture};
use meridian::clock::{Now, RegionId};
use meridian::replica::request::WriteRequest;
use meridian::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig};
use meridian::store::mem::MemStore;
use meridian::store::{ReadTxn, Store};

/// 2026-11-23T00:00:00Z.
const START_US: u64 = 1_795_392_000_000_000;

/// Tables and an item that requests may find.
const PREPARED: [(&str, &str); 4] = [
    (
        "CreateTable",
        r#"{"TableName":"tab","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}]}"#,
    ),
    (
        "CreateTable",
        r#"{"TableName":"range","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"},{"AttributeName":"b","AttributeType":"N"},{"AttributeName":"g","AttributeType":"B"}],"KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],"GlobalSecondaryIndexes":[{"IndexName":"gsi","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}"#,
    ),
    (
        "PutItem",
        r#"{"TableName":"tab","Item":{"pk":{"S":"k"},"n":{"N":"1"},"s":{"SS":["x","y"]},"l":{"L":[{"M":{"a":{"B":"AA=="}}}]}}}"#,
    ),
    (
        "PutItem",
        r#"{"TableName":"range","Item":{"a":{"S":"k"},"b":{"N":"1"},"g":{"B":"AQI="},"t":{"BOOL":true}}}"#,
    ),
];

/// A region without clock, writer thread or sockets: the same requests give the same answers.
pub struct Region {
    info: RegionInfo,
    store: Arc<dyn Store>,
    replica: Mutex<(Replica, Now)>,
}

impl Default for Region {
    fn default() -> Self {
        let id = RegionId(0);
        let now = Now {
            wall_us: START_US,
            mono_us: 1,
        };
        let config = ReplicaConfig::alone(id, "us-east-1");
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let replica =
            Replica::open(Arc::clone(&store), config, now, 0).expect("an empty store opens");
        let region = Region {
            info: RegionInfo {
                name: "us-east-1".into(),
                id,
                account: "000000000000".into(),
                topology: Regions::new(vec![(id, "us-east-1".into())]),
            },
            store,
            replica: Mutex::new((replica, now)),
        };
        for (operation, body) in PREPARED {
            let (status, answer) = region.answer(operation, body.as_bytes());
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        }
        region
    }
}

impl Region {
    /// Status and body of one request. `operation` may come with its service's prefix.
    pub fn answer(&self, operation: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let target = if operation.contains('.') {
            operation.to_owned()
        } else {
            format!("DynamoDB_20120810.{operation}")
        };
        let mut answer = pin!(api::answer_to(self, &target, body));
        // Nothing here waits for anything, unless an operation yields to be fair to others.
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready((status, body)) = answer.as_mut().poll(&mut context) {
                return (status.as_u16(), body);
            }
        }
    }
}

impl Backend for Region {
    fn region(&self) -> &RegionInfo {
        &self.info
    }

    fn keys(&self) -> &Keys {
        &Keys::Any
    }

    fn write(&self, request: WriteRequest) -> WriteFuture<'_> {
        Box::pin(async move {
            let mut guard = self.replica.lock().unwrap_or_else(PoisonError::into_inner);
            let (replica, now) = &mut *guard;
            now.wall_us += 1000;
            now.mono_us += 1000;
            let mut txn = self.store.begin_write()?;
            let mut results = replica.run_group(&mut *txn, *now, vec![Job::Write(request)])?;
            txn.commit()?;
            replica.committed();
            match results.pop() {
                Some(JobResult::Write(result)) => result,
                other => panic!("one write has one result, not {other:?}"),
            }
        })
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let txn = self.store.begin_read()?;
        reader(&*txn)
    }
}
