//! PartiQL through the AWS SDK, on the real binary.

use std::slice::from_ref;

use crate::common::{
    Cluster, EU, Item, US, code, create, eventually, get, item, message, n, number, s,
};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::execute_statement::ExecuteStatementOutput;
use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, ParameterizedStatement,
    ReturnValuesOnConditionCheckFailure,
};

async fn run(client: &Client, statement: &str) -> ExecuteStatementOutput {
    let request = client.execute_statement().statement(statement);
    let answer = request.send().await;
    answer.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
}

/// Every item of a SELECT, page by page.
async fn select(client: &Client, statement: &str, limit: i32) -> Vec<Item> {
    let mut items = Vec::new();
    let mut token = None;
    loop {
        let request = client.execute_statement().statement(statement).limit(limit);
        let page = request.set_next_token(token).send().await.expect("a page");
        items.extend(page.items.unwrap_or_default());
        token = page.next_token;
        if token.is_none() {
            return items;
        }
    }
}

fn batched(statement: &str) -> BatchStatementRequest {
    let request = BatchStatementRequest::builder().statement(statement);
    request.build().expect("complete")
}

fn transacted(statement: &str) -> ParameterizedStatement {
    let request = ParameterizedStatement::builder().statement(statement);
    request.build().expect("complete")
}

#[tokio::test]
async fn values_of_every_type_go_in_and_out() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Types", "pk:S", None, None).await;
    let bytes = AttributeValue::B(Blob::new([0u8, 255]));
    us.execute_statement()
        .statement(
            "INSERT INTO \"Types\" VALUE {'pk': ?, 'b': ?, 's': 'it''s', 'n': -1.5e3, 't': true, 'z': null,
             'l': [1, ['x']], 'm': {'k': {'j': 2}}, 'ss': <<'a', 'b'>>, 'ns': <<1, 2.0>>}",
        )
        .parameters(s("one"))
        .parameters(bytes.clone())
        .send()
        .await
        .expect("inserted");
    let stored = get(&us, "Types", item([("pk", s("one"))])).await;
    let inner = AttributeValue::M(item([("j", n(2))]));
    let expected = item([
        ("pk", s("one")),
        ("b", bytes),
        ("s", s("it's")),
        ("n", n(-1500)),
        ("t", AttributeValue::Bool(true)),
        ("z", AttributeValue::Null(true)),
        (
            "l",
            AttributeValue::L(vec![n(1), AttributeValue::L(vec![s("x")])]),
        ),
        ("m", AttributeValue::M(item([("k", inner)]))),
        ("ss", AttributeValue::Ss(vec!["a".into(), "b".into()])),
        ("ns", AttributeValue::Ns(vec!["1".into(), "2".into()])),
    ]);
    assert_eq!(stored.as_ref(), Some(&expected));
    let all = run(
        &us,
        "SELECT * FROM \"Types\" WHERE pk = 'one' AND z IS NULL",
    )
    .await;
    assert_eq!(all.items(), from_ref(&expected));
    let parts = run(&us, "SELECT m.k.j, l[1] FROM \"Types\" WHERE pk = 'one'").await;
    let l = AttributeValue::L(vec![s("x")]);
    assert_eq!(parts.items(), [item([("j", n(2)), ("l[1]", l)])]);
}

#[tokio::test]
async fn pages_of_tables_and_indexes_are_complete() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(
        from_ref(&us),
        "Pages",
        "pk:S",
        Some("sk:N"),
        Some(("by-g", "g:S", Some("sk:N"))),
    )
    .await;
    for sk in 0..25 {
        let pk = if sk % 2 == 0 { "even" } else { "odd" };
        run(
            &us,
            &format!("INSERT INTO \"Pages\" VALUE {{'pk': '{pk}', 'sk': {sk}, 'g': 'all'}}"),
        )
        .await;
    }
    let keys = async |statement: &str, limit| {
        let items = select(&us, statement, limit).await;
        items
            .iter()
            .map(|item| number(item, "sk"))
            .collect::<Vec<_>>()
    };
    let down: Vec<i64> = (0..25).rev().collect();
    let by_index = "SELECT sk FROM \"Pages\".\"by-g\" WHERE g = 'all' ORDER BY sk DESC";
    assert_eq!(keys(by_index, 4).await, down);
    let both = "SELECT * FROM \"Pages\" WHERE pk IN ['odd', 'even'] AND sk >= 20";
    assert_eq!(keys(both, 2).await, [21, 23, 20, 22, 24]);
    let mut scanned = keys("SELECT sk FROM \"Pages\" WHERE sk > 4", 3).await;
    scanned.sort_unstable();
    assert_eq!(scanned, (5..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn failures_are_typed_and_say_what_they_found() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Fails", "pk:S", None, None).await;
    run(&us, "INSERT INTO \"Fails\" VALUE {'pk': 'a', 'v': 1}").await;
    let send = async |statement: &str| {
        let request = us.execute_statement().statement(statement);
        let request = request
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        request
            .send()
            .await
            .expect_err(statement)
            .into_service_error()
    };
    let duplicate = send("INSERT INTO \"Fails\" VALUE {'pk': 'a'}").await;
    assert!(duplicate.is_duplicate_item_exception(), "{duplicate:?}");
    assert_eq!(message(&duplicate), "Duplicate primary key exists in table");
    let failed = send("UPDATE \"Fails\" SET v = 2 WHERE pk = 'a' AND v = 7").await;
    assert!(failed.is_conditional_check_failed_exception(), "{failed:?}");
    assert!(
        format!("{failed:?}").contains("\"v\": N(\"1\")"),
        "{failed:?}"
    );
    let malformed = send("SELECTT * FROM \"Fails\"").await;
    assert_eq!(code(&malformed), "ValidationException");
    assert_eq!(
        message(&malformed),
        "Statement wasn't well formed, can't be processed: Expected data manipulation"
    );
    assert!(
        send("SELECT * FROM \"Absent\"")
            .await
            .is_resource_not_found_exception()
    );
}

#[tokio::test]
async fn a_batch_answers_each_statement() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Batch", "pk:S", None, None).await;
    let writes = us
        .batch_execute_statement()
        .statements(batched("INSERT INTO \"Batch\" VALUE {'pk': 'a', 'v': 1}"))
        .statements(batched("UPDATE \"Batch\" SET v = 1 WHERE pk = 'absent'"))
        .statements(batched("INSERT INTO \"Batch\" VALUE {'pk': 'b', 'v': 2}"))
        .send()
        .await
        .expect("an answer");
    let failed = writes.responses()[1].error().expect("the update failed");
    assert_eq!(
        failed.code(),
        Some(&BatchStatementErrorCodeEnum::ConditionalCheckFailed)
    );
    let reads = us
        .batch_execute_statement()
        .statements(batched("SELECT v FROM \"Batch\" WHERE pk = 'b'"))
        .statements(batched("SELECT v FROM \"Absent\" WHERE pk = 'b'"))
        .statements(batched("SELECT v FROM \"Batch\" WHERE pk = 'a'"))
        .send()
        .await
        .expect("an answer");
    let found = |at: usize| reads.responses()[at].item().cloned();
    assert_eq!(found(0), Some(item([("v", n(2))])));
    assert_eq!(found(2), Some(item([("v", n(1))])));
    let missing = reads.responses()[1].error().and_then(|error| error.code());
    assert_eq!(
        missing,
        Some(&BatchStatementErrorCodeEnum::ResourceNotFound)
    );
}

#[tokio::test]
async fn a_transaction_is_whole_once_and_everywhere() {
    let cluster = Cluster::shared();
    let (us, eu) = (cluster.client(US), cluster.client(EU));
    create(&[us.clone(), eu.clone()], "Whole", "pk:S", None, None).await;
    run(&us, "INSERT INTO \"Whole\" VALUE {'pk': 'count', 'v': 0}").await;
    for _ in 0..2 {
        us.execute_transaction()
            .client_request_token("once")
            .transact_statements(transacted(
                "UPDATE \"Whole\" SET v = v + 1 WHERE pk = 'count'",
            ))
            .transact_statements(transacted(
                "INSERT INTO \"Whole\" VALUE {'pk': 'new', 'v': 1}",
            ))
            .send()
            .await
            .expect("done, or done before");
    }
    let cancelled = us
        .execute_transaction()
        .transact_statements(transacted("DELETE FROM \"Whole\" WHERE pk = 'count'"))
        .transact_statements(transacted("INSERT INTO \"Whole\" VALUE {'pk': 'new'}"))
        .transact_statements(transacted(
            "EXISTS(SELECT * FROM \"Whole\" WHERE pk = 'x' AND v = 1)",
        ))
        .send()
        .await
        .expect_err("two reasons")
        .into_service_error();
    let ExecuteTransactionError::TransactionCanceledException(cancelled) = cancelled else {
        panic!("{cancelled:?}");
    };
    let reasons = cancelled.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().filter_map(|reason| reason.code()).collect();
    assert_eq!(codes, ["None", "DuplicateItem", "ConditionalCheckFailed"]);
    let read = async |client: &Client| {
        let answer = client
            .execute_transaction()
            .transact_statements(transacted("SELECT v FROM \"Whole\" WHERE pk = 'count'"))
            .transact_statements(transacted("SELECT v FROM \"Whole\" WHERE pk = 'new'"))
            .send()
            .await
            .expect("an answer");
        let items = answer.responses().iter();
        items
            .map(|response| response.item().cloned())
            .collect::<Vec<_>>()
    };
    let one = Some(item([("v", n(1))]));
    assert_eq!(read(&us).await, [one.clone(), one.clone()]);
    eventually("the transaction arrives", async || {
        read(&eu).await == [one.clone(), one.clone()]
    })
    .await;
}
