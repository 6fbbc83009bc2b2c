//! The data operations on a real replica in memory.

use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::*;
use crate::api::operations::partiql::{
    batch_execute_statement, execute_statement, execute_transaction,
};
use crate::api::{Backend, Fields, Keys, RegionInfo, Regions, WriteFuture};
use crate::clock::{Now, RegionId};
use crate::item::{KeySchema, KeyType};
use crate::replica::catalog::{IndexDef, IndexKind, Projection, TableDef, TableUid, TimeToLive};
use crate::replica::manifest::Manifest;
use crate::replica::mutation::GroupId;
use crate::replica::request::WriteRequest;
use crate::replica::ttl::TtlSettings;
use crate::replica::{ApiError, Job, JobResult, Replica, ReplicaConfig};
use crate::store::mem::MemStore;
use crate::store::{ReadTxn, Store};

mod limits;
mod many;
mod pages;
mod partiql;
mod single;

/// One region in memory, without a writer thread.
struct Region {
    info: RegionInfo,
    store: Arc<MemStore>,
    replica: Mutex<Replica>,
}

const NOW: Now = Now {
    wall_us: 1_700_000_000_000_000,
    mono_us: 1,
};

impl Region {
    fn new() -> Self {
        let id = RegionId(0);
        let store = Arc::new(MemStore::new());
        let config = ReplicaConfig {
            region: id,
            region_name: "us-east-1".into(),
            manifest: Manifest::of([0; 16], GroupId::of([id])),
            replicate_all: false,
            retention: Default::default(),
            ttl: TtlSettings::default(),
            table_delay_us: 0,
            aws_waits: false,
            conflicts: crate::replica::conflict::Retention::default(),
            planted: None,
            limits: Default::default(),
        };
        let replica = Replica::open(store.clone(), config, NOW, 0).expect("opens");
        let info = RegionInfo {
            name: "us-east-1".into(),
            id,
            account: "000000000000".into(),
            topology: Regions::new(vec![(id, "us-east-1".into())]),
        };
        let region = Region {
            info,
            store,
            replica: Mutex::new(replica),
        };
        for def in [hash_table(), range_table()] {
            region
                .execute(WriteRequest::CreateTable {
                    def: Box::new(def),
                    local: Box::default(),
                })
                .expect("creates");
        }
        region
    }

    fn execute(
        &self,
        request: WriteRequest,
    ) -> Result<crate::replica::request::WriteResponse, ApiError> {
        let mut replica = self.replica.lock().expect("not poisoned");
        let mut txn = self.store.begin_write()?;
        let mut results = replica.run_group(&mut *txn, NOW, vec![Job::Write(request)])?;
        txn.commit()?;
        replica.committed();
        match results.pop() {
            Some(JobResult::Write(result)) => result,
            other => panic!("{other:?}"),
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
        Box::pin(async move { self.execute(request) })
    }

    fn read(
        &self,
        reader: &mut dyn FnMut(&dyn ReadTxn) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let txn = self.store.begin_read()?;
        reader(&*txn)
    }
}

fn table(name: &str, keys: KeySchema, indexes: Vec<IndexDef>) -> TableDef {
    let mut attributes: Vec<_> = keys.attributes().cloned().collect();
    for key in indexes.iter().flat_map(|index| index.keys.attributes()) {
        if !attributes.contains(key) {
            attributes.push(key.clone());
        }
    }
    TableDef {
        name: name.into(),
        uid: TableUid(0),
        group: GroupId(0),
        attributes,
        keys,
        indexes,
        created_us: 0,
        updated_us: 0,
        throughput: None,
        stream_view: None,
        stream_us: None,
        protected: GroupId(0),
        members: Vec::new(),
        ttl: TimeToLive::default(),
        recorded: Vec::new(),
        next_index: 0,
        merging: Default::default(),
    }
}

fn hash_table() -> TableDef {
    table(
        "hash",
        KeySchema::simple(("a", KeyType::S), None),
        Vec::new(),
    )
}

fn range_table() -> TableDef {
    let index = |name: &str, kind, keys, projection| IndexDef {
        id: 0,
        name: name.into(),
        kind,
        keys,
        projection,
        throughput: None,
    };
    let keys = KeySchema::simple(("a", KeyType::S), Some(("b", KeyType::N)));
    let local = KeySchema::simple(("a", KeyType::S), Some(("l", KeyType::S)));
    let global = KeySchema::simple(("g", KeyType::S), None);
    table(
        "range",
        keys,
        vec![
            index("local", IndexKind::Local, local, Projection::KeysOnly),
            index(
                "global",
                IndexKind::Global,
                global,
                Projection::Include(vec!["x".into()]),
            ),
        ],
    )
}

async fn call(region: &Region, operation: &str, body: Json) -> Result<Json, ApiError> {
    let fields = Fields::from_element(body, "Test")?;
    let bytes = match operation {
        "GetItem" => get_item::run(region, fields).await,
        "PutItem" => put_item::run(region, fields).await,
        "UpdateItem" => update_item::run(region, fields).await,
        "DeleteItem" => delete_item::run(region, fields).await,
        "Query" => query::run(region, fields).await,
        "Scan" => scan::run(region, fields).await,
        "BatchGetItem" => batch_get_item::run(region, fields).await,
        "BatchWriteItem" => batch_write_item::run(region, fields).await,
        "TransactGetItems" => transact_get_items::run(region, fields).await,
        "TransactWriteItems" => transact_write_items::run(region, fields).await,
        "ExecuteStatement" => execute_statement::run(region, fields).await,
        "BatchExecuteStatement" => batch_execute_statement::run(region, fields).await,
        "ExecuteTransaction" => execute_transaction::run(region, fields).await,
        other => panic!("no operation {other}"),
    }?;
    Ok(serde_json::from_slice(&bytes).expect("the body is JSON"))
}

async fn ok(region: &Region, operation: &str, body: Json) -> Json {
    match call(region, operation, body.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {body}: {error:?}"),
    }
}

async fn message(region: &Region, operation: &str, body: Json) -> String {
    match call(region, operation, body).await {
        Ok(answer) => panic!("{operation} succeeded: {answer}"),
        Err(error) => error.to_string(),
    }
}

async fn fill(region: &Region) {
    for n in 1..=5 {
        let item = json!({"a": {"S": "p"}, "b": {"N": n.to_string()}, "l": {"S": format!("l{}", 9 - n)},
            "g": {"S": "all"}, "x": {"N": n.to_string()}, "y": {"S": "why"}});
        ok(
            region,
            "PutItem",
            json!({"TableName": "range", "Item": item}),
        )
        .await;
    }
}
