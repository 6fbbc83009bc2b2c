//! PartiQL statements.

use serde_json::{Value as Json, json};

use super::{Region, fill, message, ok};

async fn run(region: &Region, statement: &str) -> Json {
    ok(
        region,
        "ExecuteStatement",
        json!({ "Statement": statement }),
    )
    .await
}

async fn refused(region: &Region, statement: &str) -> String {
    message(
        region,
        "ExecuteStatement",
        json!({ "Statement": statement }),
    )
    .await
}

/// The value of `x` in each item, in order.
fn xs(answer: &Json) -> Vec<&str> {
    let items = answer["Items"].as_array().expect("always there");
    items
        .iter()
        .map(|item| item["x"]["N"].as_str().unwrap_or_default())
        .collect()
}

fn batch(statements: &[&str]) -> Json {
    let statements: Vec<_> = statements
        .iter()
        .map(|s| json!({ "Statement": s }))
        .collect();
    json!({ "Statements": statements })
}

fn transaction(statements: &[&str]) -> Json {
    let mut body = batch(statements);
    body["TransactStatements"] = body["Statements"].take();
    body
}

#[tokio::test]
async fn a_where_on_keys_is_a_query_and_all_else_a_scan() {
    let region = Region::new();
    fill(&region).await;
    let units = async |tail: &str| {
        let body = json!({"Statement": format!("SELECT x FROM \"range\"{tail}"),
            "ReturnConsumedCapacity": "INDEXES", "ConsistentRead": !tail.contains("global")});
        let answer = ok(&region, "ExecuteStatement", body).await;
        let mut numbers: Vec<_> = xs(&answer).into_iter().map(str::to_owned).collect();
        numbers.sort();
        (numbers.concat(), answer["ConsumedCapacity"].clone())
    };
    let table = |units: f64| json!({"TableName": "range", "CapacityUnits": units, "Table": {"CapacityUnits": units}});
    for (tail, expected) in [
        ("", "12345"),
        (" WHERE a = 'p' AND b = 2", "2"),
        (" WHERE a = 'p' AND b BETWEEN 2 AND 3", "23"),
        (" WHERE a = 'p' AND NOT b = 2", "1345"),
        (" WHERE x > 3", "45"),
        (" WHERE a = 'p' AND b = 1 OR a = 'p' AND b = 5", "15"),
        (" WHERE a IN ['q', 'p'] AND x < 3 AND y = 'why'", "12"),
        (" WHERE a = 'q'", ""),
    ] {
        assert_eq!(units(tail).await.0, expected, "{tail}");
    }
    assert_eq!(units(" WHERE a = 'p' AND b = 2").await.1, table(1.0));
    let (numbers, charged) = units(".\"global\" WHERE g = 'all'").await;
    assert_eq!(numbers, "12345");
    assert_eq!(
        charged["GlobalSecondaryIndexes"]["global"]["CapacityUnits"],
        0.5
    );
    let local = run(
        &region,
        "SELECT * FROM \"range\".\"local\" WHERE a='p' AND l='l7'",
    )
    .await;
    assert_eq!(
        local["Items"],
        json!([{"a": {"S": "p"}, "b": {"N": "2"}, "l": {"S": "l7"}}])
    );
    let fetched = run(
        &region,
        "SELECT y, x FROM \"range\".\"local\" WHERE a='p' AND l='l7'",
    )
    .await;
    assert_eq!(
        fetched["Items"],
        json!([{"x": {"N": "2"}, "y": {"S": "why"}}])
    );
}

#[tokio::test]
async fn pages_follow_one_another() {
    let region = Region::new();
    fill(&region).await;
    for q in ["a", "z"] {
        run(
            &region,
            &format!("INSERT INTO \"range\" VALUE {{'a': '{q}', 'b': 1, 'x': 9}}"),
        )
        .await;
    }
    for (tail, limit, expected) in [
        ("WHERE a = 'p' ORDER BY b DESC", Some(2), "54321"),
        ("WHERE a = 'p' AND x > 3", Some(1), "45"),
        ("WHERE a IN ['z', 'p', 'a']", Some(2), "9123459"),
        ("WHERE a IN ['p', 'z'] ORDER BY b DESC", Some(5), "543219"),
        ("WHERE a IN ['p', 'z']", None, "123459"),
    ] {
        let statement = format!("SELECT x FROM \"range\" {tail}");
        let mut body = json!({"Statement": statement, "Limit": limit});
        let mut found = String::new();
        for _ in 0..10 {
            let page = ok(&region, "ExecuteStatement", body.clone()).await;
            let limit = limit.unwrap_or(10);
            assert!(xs(&page).len() <= limit, "{tail}: {page}");
            found += &xs(&page).concat();
            body["NextToken"] = page["NextToken"].clone();
            if body["NextToken"].is_null() {
                break;
            }
        }
        assert_eq!(found, expected, "{tail}");
    }
    let first = json!({"Statement": "SELECT * FROM \"range\" WHERE a='p'", "Limit": 1});
    let page = ok(&region, "ExecuteStatement", first).await;
    assert_eq!(
        page["LastEvaluatedKey"],
        json!({"a": {"S": "p"}, "b": {"N": "1"}})
    );
    let other =
        json!({"Statement": "SELECT * FROM \"range\" WHERE a='z'", "NextToken": page["NextToken"]});
    assert_eq!(
        message(&region, "ExecuteStatement", other).await,
        "NextToken does not match request"
    );
    let one = json!({"Statement": "SELECT * FROM \"range\" WHERE a='p' AND b=1", "Limit": 1});
    assert_eq!(
        ok(&region, "ExecuteStatement", one).await["NextToken"],
        Json::Null
    );
}

#[tokio::test]
async fn writes_are_conditional_and_return_what_is_asked() {
    let region = Region::new();
    let empty = json!({"Items": []});
    let insert = "INSERT INTO \"hash\" VALUE {'a': 'k', 'n': 1, 'l': [1, 2, 3], 'm': {'x': 'y'}}";
    assert_eq!(run(&region, insert).await, empty);
    assert_eq!(
        refused(&region, insert).await,
        "Duplicate primary key exists in table"
    );
    let update = |rest: &str| format!("UPDATE \"hash\" {rest}");
    let returned = async |rest: &str| run(&region, &update(rest)).await["Items"].clone();
    assert_eq!(returned("SET n = n + 1 WHERE a = 'k'").await, json!([]));
    for (rest, items) in [
        (
            "SET n = n + 1 WHERE a='k' RETURNING MODIFIED OLD *",
            json!([{"n": {"N": "2"}}]),
        ),
        (
            "SET m.x = 'z' SET l[2] = 9 WHERE a='k' RETURNING MODIFIED NEW *",
            json!([{"l": {"L": [{"N": "9"}]}, "m": {"M": {"x": {"S": "z"}}}}]),
        ),
        ("REMOVE m WHERE a='k' RETURNING MODIFIED NEW *", json!([])),
        (
            "SET s = set_add(s, <<1, 2>>) WHERE a='k' AND attribute_not_exists(s) RETURNING MODIFIED NEW *",
            json!([{"s": {"NS": ["1", "2"]}}]),
        ),
        (
            "SET s = set_delete(s, <<1, 2>>) WHERE a='k' RETURNING MODIFIED NEW *",
            json!([]),
        ),
        (
            "SET l = list_append(l, [4]) REMOVE n WHERE a='k' RETURNING ALL NEW *",
            json!([{"a": {"S": "k"}, "l": {"L": [{"N": "1"}, {"N": "2"}, {"N": "9"}, {"N": "4"}]}}]),
        ),
    ] {
        assert_eq!(returned(rest).await, items, "{rest}");
    }
    let failed = "The conditional request failed";
    for statement in [
        update("SET n = 1 WHERE a = 'absent'"),
        update("SET n = 1 WHERE a = 'absent' AND attribute_not_exists(a)"),
        update("SET n = 1 WHERE a = 'k' AND n = 7"),
        "DELETE FROM \"hash\" WHERE a = 'k' AND n = 7".into(),
    ] {
        assert_eq!(refused(&region, &statement).await, failed, "{statement}");
    }
    assert_eq!(
        run(
            &region,
            "DELETE FROM \"hash\" WHERE a='absent' AND n=7 RETURNING ALL OLD *"
        )
        .await,
        empty
    );
    let deleted = run(
        &region,
        "DELETE FROM \"hash\" WHERE a='k' RETURNING ALL OLD *",
    )
    .await;
    assert_eq!(deleted["Items"][0]["a"], json!({"S": "k"}));
    assert_eq!(run(&region, "SELECT * FROM \"hash\"").await, empty);
}

#[tokio::test]
async fn statements_are_refused_in_dynamodbs_words() {
    let region = Region::new();
    fill(&region).await;
    let key = "Where clause does not contain a mandatory equality on all key attributes";
    for (statement, message) in [
        (
            "SELECT * FROM \"nope\" WHERE a='x'",
            "Requested resource not found",
        ),
        (
            "SELECT * FROM \"range\".\"nope\"",
            "The table does not have the specified index: nope",
        ),
        ("DELETE FROM \"range\" WHERE a='p'", key),
        ("UPDATE \"range\" SET x=1", key),
        (
            "UPDATE \"range\" SET b=1 WHERE a='p' AND b=1",
            "One or more parameter values were invalid: Cannot update attribute b. This attribute is part of the key",
        ),
        (
            "UPDATE \"range\" SET nl[0]=1 WHERE a='p' AND b=1",
            "The document path provided in the update expression is invalid for update",
        ),
        (
            "DELETE FROM \"range\" WHERE a='p' AND b='x'",
            "The provided key element does not match the schema",
        ),
        (
            "INSERT INTO \"range\" VALUE {'a': 'p'}",
            "One or more parameter values were invalid: Missing the key b in the item",
        ),
        (
            "DELETE FROM \"range\".\"local\" WHERE a='p' AND b=1",
            "This operation is not supported on an index",
        ),
        (
            "INSERT INTO \"range\".\"local\" VALUE {'a': 'p'}",
            "FROM clause may only contain a single table name",
        ),
        (
            "SELECT y, z FROM \"range\".\"global\" WHERE g='all'",
            "One or more parameter values were invalid: Global secondary index global does not project [y, z]",
        ),
        (
            "SELECT a FROM \"range\".\"local\" WHERE a='p' AND y='why'",
            "One or more parameter values were invalid: Secondary index local does not project one or more filter attributes: [y]",
        ),
    ] {
        assert_eq!(refused(&region, statement).await, message, "{statement}");
    }
    assert_eq!(
        run(&region, "SELECT a FROM \"range\".\"local\" WHERE y='why'").await,
        json!({"Items": []})
    );
    let body = json!({"Statement": "SELECT * FROM \"range\" WHERE a=?", "Parameters": []});
    assert!(
        message(&region, "ExecuteStatement", body)
            .await
            .contains("at 'parameters' failed to satisfy")
    );
    let body = json!({"Statement": "", "Limit": 0});
    assert!(
        message(&region, "ExecuteStatement", body)
            .await
            .starts_with("2 validation errors detected")
    );
}

#[tokio::test]
async fn every_statement_of_a_batch_stands_for_itself() {
    let region = Region::new();
    fill(&region).await;
    let answer = ok(
        &region,
        "BatchExecuteStatement",
        batch(&[
            "SELECT x FROM \"range\" WHERE a='p' AND b=1",
            "SELECT x FROM \"range\" WHERE a='p' AND b=77",
            "SLECT x",
            "SELECT x FROM \"nope\" WHERE a='p'",
            "SELECT x FROM \"range\" WHERE a='p'",
            "SELECT x FROM \"range\" WHERE a='p' AND b=3 AND x=3",
        ]),
    )
    .await;
    let error = |code: &str, message: &str| json!({"Error": {"Code": code, "Message": message}});
    let whole = "Select statements within BatchExecuteStatement must specify the primary key in the where clause.";
    assert_eq!(
        answer,
        json!({"Responses": [
            {"Item": {"x": {"N": "1"}}, "TableName": "range"},
            {"TableName": "range"},
            error("ValidationError", "Statement wasn't well formed, can't be processed: Expected data manipulation"),
            error("ResourceNotFound", "Requested resource not found"),
            error("ValidationError", whole),
            error("ValidationError", whole),
        ]})
    );
    let mut body = batch(&[
        "UPDATE \"range\" SET x=0 WHERE a='p' AND b=1 AND x=9",
        "INSERT INTO \"range\" VALUE {'a': 'p', 'b': 2}",
        "DELETE FROM \"range\" WHERE a='p' AND b=3 RETURNING ALL OLD *",
        "INSERT INTO \"hash\" VALUE {'a': 'n'}",
    ]);
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    let answer = ok(&region, "BatchExecuteStatement", body).await;
    let responses = &answer["Responses"];
    assert_eq!(responses[0]["Error"]["Code"], "ConditionalCheckFailed");
    assert_eq!(
        responses[1],
        json!({"TableName": "range",
        "Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}})
    );
    assert_eq!(responses[2]["Item"]["x"], json!({"N": "3"}));
    assert_eq!(responses[3], json!({"TableName": "hash"}));
    assert_eq!(
        answer["ConsumedCapacity"][0],
        json!({"TableName": "hash", "CapacityUnits": 1.0})
    );
    let mixed = batch(&[
        "SELECT * FROM \"hash\" WHERE a='n'",
        "DELETE FROM \"hash\" WHERE a='n'",
    ]);
    assert_eq!(
        message(&region, "BatchExecuteStatement", mixed).await,
        "Read and write requests together in the same batch is not supported."
    );
    let twice = batch(&["SELECT * FROM \"hash\" WHERE a='n'"; 2]);
    assert!(
        message(&region, "BatchExecuteStatement", twice)
            .await
            .contains("duplicates")
    );
    assert!(
        message(&region, "BatchExecuteStatement", batch(&[]))
            .await
            .contains("at 'statements' failed")
    );
}

#[tokio::test]
async fn a_transaction_is_all_reads_or_all_writes() {
    let region = Region::new();
    fill(&region).await;
    let prefix = "Validation failed in TransactStatements[0]: ";
    let update = "UPDATE \"hash\" SET n=1 WHERE a='k'";
    for (statements, expected) in [
        (vec!["SELECT * FROM \"range\" WHERE a='p' AND b=1", update],
            "ExecuteTransaction API does not support both read and write operations in the same request.".to_owned()),
        (vec!["SELECT * FROM \"range\" WHERE a='p'"],
            format!("{prefix}Select statements within ExecuteTransaction must specify the primary key in the where clause.")),
        (vec!["SELECT * FROM \"range\".\"global\" WHERE g='all'"],
            "Reads on indices are not supported within transactions".into()),
        (vec!["UPDATE \"hash\" SET n=1 WHERE a='k' RETURNING ALL NEW *"],
            format!("{prefix}RETURNING clause is not supported in ExecuteTransaction")),
        (vec!["EXISTS(SELECT * FROM \"hash\" WHERE a='q')", update],
            format!("{prefix}EXISTS() must contain a single item read with additional condition")),
        (vec![update, update], "Transaction request cannot include multiple operations on one item".into()),
        (vec!["UPDATE \"nope\" SET n=1 WHERE a='k'"], "Requested resource not found".into()),
    ] {
        assert_eq!(message(&region, "ExecuteTransaction", transaction(&statements)).await, expected);
    }
    let reads = transaction(&[
        "SELECT x FROM \"range\" WHERE b=1 AND a='p'",
        "SELECT * FROM \"hash\" WHERE a='q'",
    ]);
    assert_eq!(
        ok(&region, "ExecuteTransaction", reads).await,
        json!({"Responses": [{"Item": {"x": {"N": "1"}}}, {}]})
    );
}

#[tokio::test]
async fn a_transaction_of_writes_is_cancelled_with_its_reasons() {
    let region = Region::new();
    fill(&region).await;
    let fails = transaction(&[
        "INSERT INTO \"hash\" VALUE {'a': 'new'}",
        "INSERT INTO \"range\" VALUE {'a': 'p', 'b': 1}",
        "EXISTS(SELECT * FROM \"range\" WHERE a='p' AND b=2 AND x=7)",
    ]);
    let error = message(&region, "ExecuteTransaction", fails).await;
    assert!(
        error.ends_with("[None, DuplicateItem, ConditionalCheckFailed]"),
        "{error}"
    );
    assert_eq!(
        run(&region, "SELECT * FROM \"hash\"").await,
        json!({"Items": []})
    );
    let mut body = transaction(&[
        "INSERT INTO \"hash\" VALUE {'a': 'new'}",
        "UPDATE \"range\" SET x = x + 1 WHERE a='p' AND b=1",
        "EXISTS(SELECT * FROM \"range\" WHERE a='p' AND b=2 AND x=2)",
    ]);
    body["ClientRequestToken"] = "t".into();
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    for direction in ["WriteCapacityUnits", "ReadCapacityUnits"] {
        let answer = ok(&region, "ExecuteTransaction", body.clone()).await;
        assert_eq!(answer["Responses"], json!([]));
        assert_eq!(answer["ConsumedCapacity"][0][direction], 2.0, "{answer}");
    }
    let counted = run(&region, "SELECT x FROM \"range\" WHERE a='p' AND b=1").await;
    assert_eq!(xs(&counted), ["2"]);
    let mut other = transaction(&["INSERT INTO \"hash\" VALUE {'a': 'other'}"]);
    other["ClientRequestToken"] = "t".into();
    let error = message(&region, "ExecuteTransaction", other).await;
    assert!(error.contains("same client token"), "{error}");
}
