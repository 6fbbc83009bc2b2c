//! Transactions: all or nothing where they are made, and everywhere they arrive.

use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{
    self, Cluster, Item, US, code, create, get, item, message, n, number, query_all, s,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Get, Put, ReturnValuesOnConditionCheckFailure, TransactGetItem,
    TransactWriteItem, Update,
};

fn put_of(table: &str, item: Item) -> TransactWriteItem {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = put.build().expect("complete");
    TransactWriteItem::builder().put(put).build()
}

fn get_of(table: &str, key: Item) -> TransactGetItem {
    let get = Get::builder().table_name(table).set_key(Some(key));
    let get = get.build().expect("complete");
    TransactGetItem::builder().get(get).build()
}

#[tokio::test]
async fn a_cancelled_transaction_says_why_for_every_action() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Reasons", "pk:S", None, None).await;
    let old = item([("pk", s("old")), ("v", n(1))]);
    common::put(&us, "Reasons", old.clone()).await;
    let check = ConditionCheck::builder()
        .table_name("Reasons")
        .key("pk", s("absent"))
        .condition_expression("attribute_exists(pk)")
        .build()
        .expect("complete");
    let delete = Delete::builder()
        .table_name("Reasons")
        .key("pk", s("old"))
        .condition_expression("v = :two")
        .expression_attribute_values(":two", n(2))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .expect("complete");
    let error = us
        .transact_write_items()
        .transact_items(put_of("Reasons", item([("pk", s("new"))])))
        .transact_items(TransactWriteItem::builder().condition_check(check).build())
        .transact_items(TransactWriteItem::builder().delete(delete).build())
        .send()
        .await
        .expect_err("two conditions fail")
        .into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        cancelled.message.as_deref().unwrap_or_default(),
        "Transaction cancelled, please refer cancellation reasons for specific reasons \
         [None, ConditionalCheckFailed, ConditionalCheckFailed]"
    );
    let reasons = cancelled.cancellation_reasons();
    let codes: Vec<_> = reasons
        .iter()
        .map(|r| r.code().unwrap_or_default())
        .collect();
    assert_eq!(
        codes,
        ["None", "ConditionalCheckFailed", "ConditionalCheckFailed"]
    );
    assert_eq!(reasons[1].message(), Some("The conditional request failed"));
    assert_eq!(reasons[1].item, None);
    assert_eq!(reasons[2].item, Some(old.clone()));
    assert_eq!(get(&us, "Reasons", item([("pk", s("new"))])).await, None);
    assert_eq!(
        get(&us, "Reasons", item([("pk", s("old"))])).await,
        Some(old)
    );
    let twice = us
        .transact_write_items()
        .transact_items(put_of("Reasons", item([("pk", s("x"))])))
        .transact_items(put_of("Reasons", item([("pk", s("x")), ("v", n(1))])));
    let error = twice.send().await.expect_err("one item twice");
    assert_eq!(code(&error), "ValidationException");
    assert_eq!(
        message(&error),
        "Transaction request cannot include multiple operations on one item"
    );
}

#[tokio::test]
async fn a_repeated_token_acts_once() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Tokens", "pk:S", None, None).await;
    let add = |amount: i64| {
        let update = Update::builder()
            .table_name("Tokens")
            .key("pk", s("account"))
            .update_expression("ADD balance :amount")
            .expression_attribute_values(":amount", n(amount))
            .build()
            .expect("complete");
        us.transact_write_items()
            .client_request_token("0f8fad5b-d9cb-469f-a165-70867728950e")
            .transact_items(TransactWriteItem::builder().update(update).build())
    };
    let send = async |request: TransactWriteItemsFluentBuilder| request.send().await;
    send(add(5)).await.expect("the first time");
    send(add(5)).await.expect("the second time, without effect");
    let error = send(add(6)).await.expect_err("other parameters");
    assert_eq!(code(&error), "IdempotentParameterMismatchException");
    let account = get(&us, "Tokens", item([("pk", s("account"))])).await;
    assert_eq!(number(&account.expect("there"), "balance"), 5);
}

/// The generation of every item of the transaction, read atomically; `None` before the first one arrived.
async fn by_transaction(client: &Client) -> Option<i64> {
    let ledger = |sk: &str| get_of("Ledger", item([("pk", s("acct")), ("sk", s(sk))]));
    let read = client
        .transact_get_items()
        .transact_items(ledger("a"))
        .transact_items(get_of("Audit", item([("pk", s("acct"))])))
        .transact_items(ledger("b"))
        .transact_items(ledger("c"))
        .send()
        .await
        .expect("read");
    let items: Vec<Option<Item>> = read.responses().iter().map(|r| r.item.clone()).collect();
    assert_eq!(items.len(), 4);
    whole(items)
}

/// The same by one Query, which sees one table only.
async fn by_query(client: &Client) -> Option<i64> {
    let items = query_all(client, "Ledger", None, "pk", s("acct")).await;
    assert!(items.is_empty() || items.len() == 3, "torn: {items:?}");
    whole(items.into_iter().map(Some).collect())
}

fn whole(items: Vec<Option<Item>>) -> Option<i64> {
    let generations: Vec<Option<i64>> = items
        .iter()
        .map(|item| item.as_ref().map(|item| number(item, "generation")))
        .collect();
    let first = generations.first().copied().flatten();
    assert!(generations.iter().all(|g| *g == first), "torn: {items:?}");
    first
}

/// Reads until the last generation is seen; each read must be whole and none older than the one before.
async fn watch(client: Client, last: i64, written: Arc<AtomicBool>) -> usize {
    let (mut seen, mut reads) = (None, 0);
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while seen != Some(last) {
        for now in [by_transaction(&client).await, by_query(&client).await] {
            assert!(now >= seen, "time went back from {seen:?} to {now:?}");
            seen = now;
            reads += 1;
        }
        let late = std::time::Instant::now() > deadline;
        assert!(!late, "{seen:?} of {last}, all written: {written:?}");
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_arrives_whole() {
    const LAST: i64 = 60;
    let cluster = Cluster::shared();
    let clients = cluster.clients();
    create(&clients, "Ledger", "pk:S", Some("sk:S"), None).await;
    create(&clients, "Audit", "pk:S", None, None).await;
    let [us, eu, ap] = clients;
    let written = Arc::new(AtomicBool::new(false));
    let watchers =
        [us.clone(), eu, ap].map(|client| tokio::spawn(watch(client, LAST, written.clone())));
    for generation in 1..=LAST {
        let ledger = |sk: &str| {
            let attributes = [
                ("pk", s("acct")),
                ("sk", s(sk)),
                ("generation", n(generation)),
            ];
            put_of("Ledger", item(attributes))
        };
        us.transact_write_items()
            .transact_items(ledger("a"))
            .transact_items(ledger("b"))
            .transact_items(ledger("c"))
            .transact_items(put_of(
                "Audit",
                item([("pk", s("acct")), ("generation", n(generation))]),
            ))
            .send()
            .await
            .expect("written");
    }
    written.store(true, Ordering::SeqCst);
    for watcher in watchers {
        assert!(watcher.await.expect("nothing torn") > 0);
    }
}
