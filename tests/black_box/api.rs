//! The DynamoDB API as the AWS SDK sees it, on one region of a cluster.

use std::slice::from_ref;

use crate::common::{
    self, Cluster, EU, US, code, create, get, item, message, n, number, post, put, query_all, s,
    scan_all, text,
};
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, PutRequest, ReplicaStatus, ReturnValue,
    ReturnValuesOnConditionCheckFailure, Select, WriteRequest,
};

#[tokio::test]
async fn movies_of_a_year_are_found_by_their_year() {
    let cluster = Cluster::shared();
    let clients = cluster.clients();
    create(&clients, "Movies", "Year:N", Some("Title:S"), None).await;
    let [us, eu, _] = &clients;
    let movies = [
        (2020, "Tenet"),
        (2020, "Soul"),
        (2019, "Parasite"),
        (2020, "Nomadland"),
        (2021, "Dune"),
    ];
    for (year, title) in movies {
        put(us, "Movies", item([("Year", n(year)), ("Title", s(title))])).await;
    }
    let query = r##"{"TableName":"Movies","KeyConditionExpression":"#yr = :year","ExpressionAttributeNames":{"#yr":"Year"},"ExpressionAttributeValues":{":year":{"N":"2020"}}}"##;
    let answer = post(&cluster.front(), US, "Query", query).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let wanted = serde_json::json!({
        "Count": 3,
        "ScannedCount": 3,
        "Items": [
            {"Year": {"N": "2020"}, "Title": {"S": "Nomadland"}},
            {"Year": {"N": "2020"}, "Title": {"S": "Soul"}},
            {"Year": {"N": "2020"}, "Title": {"S": "Tenet"}},
        ],
    });
    assert_eq!(answer.json(), wanted);
    common::eventually("another region answers the same", async || {
        post(&cluster.front(), EU, "Query", query).await.json() == wanted
    })
    .await;
    let found = query_all(eu, "Movies", None, "Year", n(2020)).await;
    let titles: Vec<&str> = found.iter().map(|movie| text(movie, "Title")).collect();
    assert_eq!(titles, ["Nomadland", "Soul", "Tenet"]);
}

#[tokio::test]
async fn a_failed_condition_says_so_and_shows_the_item() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Conditions", "pk:S", None, None).await;
    let first = item([("pk", s("a")), ("v", n(1))]);
    put(&us, "Conditions", first.clone()).await;
    let error = us
        .put_item()
        .table_name("Conditions")
        .set_item(Some(item([("pk", s("a")), ("v", n(2))])))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await
        .expect_err("the item exists")
        .into_service_error();
    assert_eq!(message(&error), "The conditional request failed");
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
        failed,
    ) = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(failed.item, Some(first.clone()));
    let key = item([("pk", s("a"))]);
    assert_eq!(get(&us, "Conditions", key.clone()).await, Some(first));
    let error = us
        .delete_item()
        .table_name("Conditions")
        .set_key(Some(key.clone()))
        .condition_expression("v > :v")
        .expression_attribute_values(":v", n(1))
        .send()
        .await
        .expect_err("1 is not above 1");
    assert_eq!(code(&error), "ConditionalCheckFailedException");
    us.delete_item()
        .table_name("Conditions")
        .set_key(Some(key.clone()))
        .condition_expression("v = :v AND attribute_type(pk, :t)")
        .expression_attribute_values(":v", n("1.0"))
        .expression_attribute_values(":t", s("S"))
        .send()
        .await
        .expect("1 equals 1.0");
    assert_eq!(get(&us, "Conditions", key).await, None);
}

#[tokio::test]
async fn queries_and_scans_come_in_pages() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Pages", "pk:S", Some("sk:N"), None).await;
    for sk in 0..25 {
        put(
            &us,
            "Pages",
            item([("pk", s("p")), ("sk", n(sk)), ("even", n(sk % 2))]),
        )
        .await;
    }
    put(&us, "Pages", item([("pk", s("q")), ("sk", n(0))])).await;
    let (mut start, mut pages) = (None, Vec::new());
    loop {
        let page = us
            .query()
            .table_name("Pages")
            .key_condition_expression("pk = :p")
            .expression_attribute_values(":p", s("p"))
            .scan_index_forward(false)
            .limit(10)
            .set_exclusive_start_key(start)
            .send()
            .await
            .expect("a page");
        assert_eq!(page.count, page.scanned_count);
        pages.push(
            page.items()
                .iter()
                .map(|i| number(i, "sk"))
                .collect::<Vec<_>>(),
        );
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [10, 10, 5]);
    assert_eq!(pages.concat(), (0..25).rev().collect::<Vec<i64>>());
    let filtered = us
        .query()
        .table_name("Pages")
        .key_condition_expression("pk = :p AND sk BETWEEN :low AND :high")
        .filter_expression("even = :zero")
        .expression_attribute_values(":p", s("p"))
        .expression_attribute_values(":low", n(5))
        .expression_attribute_values(":high", n(14))
        .expression_attribute_values(":zero", n(0))
        .select(Select::Count)
        .send()
        .await
        .expect("a count");
    assert_eq!((filtered.count, filtered.scanned_count), (5, 10));
    assert_eq!(filtered.items, None);
    let scanned = us.scan().table_name("Pages").limit(4).into_paginator();
    let scanned = scanned.items().send().collect::<Result<Vec<_>, _>>().await;
    assert_eq!(scanned.expect("all pages").len(), 26);
    let mut segments = 0;
    for segment in 0..4 {
        let part = us
            .scan()
            .table_name("Pages")
            .segment(segment)
            .total_segments(4);
        let part = part.into_paginator().items().send();
        segments += part
            .collect::<Result<Vec<_>, _>>()
            .await
            .expect("a segment")
            .len();
    }
    assert_eq!(segments, 26, "segments are disjoint and complete");
}

#[tokio::test]
async fn a_page_ends_at_a_mebibyte() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Large", "pk:S", Some("sk:N"), None).await;
    let filling = "x".repeat(300_000);
    for sk in 0..6 {
        put(
            &us,
            "Large",
            item([("pk", s("p")), ("sk", n(sk)), ("x", s(&filling))]),
        )
        .await;
    }
    let page = us
        .query()
        .table_name("Large")
        .key_condition_expression("pk = :p")
        .expression_attribute_values(":p", s("p"))
        .send()
        .await
        .expect("a page");
    assert!((3..=4).contains(&page.count), "{} items", page.count);
    assert!(page.last_evaluated_key.is_some(), "there is more");
    assert_eq!(query_all(&us, "Large", None, "pk", s("p")).await.len(), 6);
    let error = us
        .put_item()
        .table_name("Large")
        .item("pk", s("p"))
        .item("sk", n(9))
        .item("x", s("x".repeat(409_601)))
        .send()
        .await
        .expect_err("over 400 KB");
    assert_eq!(code(&error), "ValidationException");
    assert_eq!(
        message(&error),
        "Item size has exceeded the maximum allowed size"
    );
}

#[tokio::test]
async fn batches_write_and_read_across_tables() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "BatchA", "pk:S", None, None).await;
    create(from_ref(&us), "BatchB", "pk:N", None, None).await;
    let write = |item| {
        let put = PutRequest::builder().set_item(Some(item)).build();
        let put = put.expect("complete");
        WriteRequest::builder().put_request(put).build()
    };
    let a = |i: usize| item([("pk", s(format!("a{i}"))), ("v", n(i))]);
    let b = |i: usize| item([("pk", n(i)), ("v", s("b"))]);
    let written = us
        .batch_write_item()
        .request_items("BatchA", (0..15).map(|i| write(a(i))).collect())
        .request_items("BatchB", (0..10).map(|i| write(b(i))).collect())
        .send()
        .await
        .expect("25 puts");
    assert!(written.unprocessed_items.unwrap_or_default().is_empty());
    let keys = |keys| {
        let keys = KeysAndAttributes::builder().set_keys(Some(keys));
        keys.consistent_read(true).build().expect("complete")
    };
    let read = us
        .batch_get_item()
        .request_items(
            "BatchA",
            keys(
                (0..20)
                    .map(|i| item([("pk", s(format!("a{i}")))]))
                    .collect(),
            ),
        )
        .request_items(
            "BatchB",
            keys((0..10).map(|i| item([("pk", n(i))])).collect()),
        )
        .send()
        .await
        .expect("30 keys");
    assert!(read.unprocessed_keys.unwrap_or_default().is_empty());
    let responses = read.responses.expect("there are some");
    assert_eq!(responses["BatchA"].len(), 15, "missing items are left out");
    assert_eq!(responses["BatchB"].len(), 10);
    let total: i64 = responses["BatchA"].iter().map(|i| number(i, "v")).sum();
    assert_eq!(total, (0..15).sum::<i64>());
    let twice = us
        .batch_write_item()
        .request_items("BatchA", vec![write(a(50)), write(a(50))]);
    let error = twice.send().await.expect_err("one key twice");
    assert_eq!(code(&error), "ValidationException");
    assert_eq!(
        message(&error),
        "Provided list of item keys contains duplicates"
    );
    let many = (100..126).map(|i| write(a(i))).collect();
    let error = us
        .batch_write_item()
        .request_items("BatchA", many)
        .send()
        .await;
    assert_eq!(code(&error.expect_err("26 puts")), "ValidationException");
    assert_eq!(
        scan_all(&us, "BatchA").await.len(),
        15,
        "a refused batch writes nothing"
    );
}

#[tokio::test]
async fn updates_return_what_was_asked() {
    let cluster = Cluster::shared();
    let us = cluster.client(US);
    create(from_ref(&us), "Updates", "pk:S", None, None).await;
    let update = |expression: &str, returned: ReturnValue| {
        us.update_item()
            .table_name("Updates")
            .key("pk", s("u"))
            .update_expression(expression)
            .return_values(returned)
    };
    let attributes = async |update: aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder| {
        update.send().await.expect("updated").attributes
    };
    let born = update("SET a = :one, l = :list ADD c :one", ReturnValue::AllNew)
        .expression_attribute_values(":one", n(1))
        .expression_attribute_values(":list", AttributeValue::L(vec![n(1)]));
    let list = |values: &[i64]| AttributeValue::L(values.iter().map(n).collect());
    let wanted = item([("pk", s("u")), ("a", n(1)), ("c", n(1)), ("l", list(&[1]))]);
    assert_eq!(attributes(born).await, Some(wanted.clone()));
    let counted = update("ADD c :two SET a = a + :two", ReturnValue::UpdatedNew)
        .expression_attribute_values(":two", n(2));
    assert_eq!(
        attributes(counted).await,
        Some(item([("c", n(3)), ("a", n(3))]))
    );
    let appended = update(
        "SET l = list_append(l, :more), d = if_not_exists(d, :more)",
        ReturnValue::UpdatedOld,
    )
    .expression_attribute_values(":more", list(&[2]));
    assert_eq!(attributes(appended).await, Some(item([("l", list(&[1]))])));
    let removed = update("REMOVE d, l[0]", ReturnValue::AllOld);
    let old = attributes(removed).await.expect("it existed");
    assert_eq!(old["l"], list(&[1, 2]));
    assert_eq!(old["d"], list(&[2]));
    let none =
        update("SET a = :zero", ReturnValue::None).expression_attribute_values(":zero", n(0));
    assert_eq!(attributes(none).await, None);
    let last = get(&us, "Updates", item([("pk", s("u"))])).await;
    let wanted = item([("pk", s("u")), ("a", n(0)), ("c", n(3)), ("l", list(&[2]))]);
    assert_eq!(last, Some(wanted));
    let key =
        update("SET pk = :zero", ReturnValue::None).expression_attribute_values(":zero", s("z"));
    let error = key.send().await.expect_err("a key does not change");
    assert_eq!(code(&error), "ValidationException");
    let text = "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key";
    assert_eq!(message(&error), text);
}

#[tokio::test]
async fn tables_tell_of_their_replicas() {
    let cluster = Cluster::shared();
    let clients = cluster.clients();
    create(
        &clients,
        "Described",
        "pk:S",
        None,
        Some(("by_v", "v:N", None)),
    )
    .await;
    for (client, region) in clients.iter().zip(common::REGIONS) {
        let described = client.describe_table().table_name("Described").send().await;
        let table = described.expect("described").table.expect("a table");
        assert_eq!(table.global_table_version(), Some("2019.11.21"));
        let arn = format!("arn:aws:dynamodb:{region}:000000000000:table/Described");
        assert_eq!(table.table_arn(), Some(arn.as_str()));
        let mut others: Vec<&str> = Vec::new();
        for replica in table.replicas() {
            assert_eq!(replica.replica_status(), Some(&ReplicaStatus::Active));
            others.push(replica.region_name().unwrap_or_default());
        }
        others.sort_unstable();
        let mut wanted: Vec<&str> = common::REGIONS
            .into_iter()
            .filter(|r| *r != region)
            .collect();
        wanted.sort_unstable();
        assert_eq!(others, wanted, "the replicas besides {region}");
        assert_eq!(table.global_secondary_indexes().len(), 1);
        let listed = client.list_tables().send().await.expect("a list");
        assert!(listed.table_names().iter().any(|name| name == "Described"));
    }
    let again = clients[1]
        .describe_table()
        .table_name("NoSuchTable")
        .send()
        .await
        .expect_err("there is none");
    assert_eq!(code(&again), "ResourceNotFoundException");
    assert_eq!(
        message(&again),
        "Requested resource not found: Table: NoSuchTable not found"
    );
}
