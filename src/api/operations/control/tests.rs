//! Policies, insights, destinations and the rest over a real replica on a store in memory.

use serde_json::{Value, json};

use crate::api::tests::{TestBackend, call};
use crate::replica::members::Progress;

const ARN: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/abc";
const DOCUMENT: &str = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"dynamodb:GetItem\"}]}";
const OTHER: &str = "{\"Statement\":{\"Effect\":\"Deny\"}}";

fn table() -> Value {
    json!({
        "TableName": "abc",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [{"IndexName": "gsi", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"}}],
    })
}

/// The code and the message of an operation that must fail.
async fn failure(backend: &TestBackend, operation: &str, body: Value) -> (String, String) {
    let (status, answer) = call(backend, operation, body).await;
    assert_eq!(status, 400, "{operation}: {answer}");
    let code = answer["__type"]
        .as_str()
        .unwrap()
        .rsplit('#')
        .next()
        .unwrap();
    (
        code.to_owned(),
        answer["message"].as_str().unwrap_or("").to_owned(),
    )
}

async fn success(backend: &TestBackend, operation: &str, body: Value) -> Value {
    let (status, answer) = call(backend, operation, body).await;
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

#[tokio::test]
async fn policies_have_revisions() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let of = |extra: Value| {
        let mut body = json!({"ResourceArn": ARN});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    let (code, text) = failure(&backend, "GetResourcePolicy", of(json!({}))).await;
    assert_eq!(code, "PolicyNotFoundException");
    assert_eq!(
        text,
        format!("Resource-based policy not found for the provided ResourceArn: {ARN}")
    );
    let put = |document: &str, expected: Option<&str>| {
        let mut body = of(json!({"Policy": document}));
        if let Some(expected) = expected {
            body["ExpectedRevisionId"] = json!(expected);
        }
        body
    };
    let first = success(
        &backend,
        "PutResourcePolicy",
        put(DOCUMENT, Some("NO_POLICY")),
    )
    .await;
    let again = success(&backend, "PutResourcePolicy", put(DOCUMENT, None)).await;
    assert_eq!(first, again);
    let first = first["RevisionId"].as_str().unwrap();
    let (code, text) = failure(&backend, "PutResourcePolicy", put(OTHER, Some("NO_POLICY"))).await;
    assert_eq!(code, "PolicyNotFoundException");
    assert!(
        text.ends_with(&format!("but a policy exists with revision id {first}.")),
        "{text}"
    );
    failure(&backend, "PutResourcePolicy", put(OTHER, Some("17"))).await;
    let second = success(&backend, "PutResourcePolicy", put(OTHER, Some(first))).await;
    assert_ne!(second["RevisionId"], first);
    let got = success(&backend, "GetResourcePolicy", of(json!({}))).await;
    assert_eq!(
        got,
        json!({"Policy": OTHER, "RevisionId": second["RevisionId"]})
    );
    let (code, _) = failure(
        &backend,
        "DeleteResourcePolicy",
        of(json!({"ExpectedRevisionId": first})),
    )
    .await;
    assert_eq!(code, "PolicyNotFoundException");
    let deleted = success(&backend, "DeleteResourcePolicy", of(json!({}))).await;
    assert_eq!(deleted["RevisionId"], second["RevisionId"]);
    assert_eq!(
        success(&backend, "DeleteResourcePolicy", of(json!({}))).await,
        json!({})
    );
    for (document, text) in [
        (
            "no json".to_owned(),
            "Invalid policy document: This policy contains invalid Json",
        ),
        (
            " ".repeat(20_481),
            "Maximum policy size of 20480 bytes exceeded",
        ),
    ] {
        let (_, found) = failure(&backend, "PutResourcePolicy", put(&document, None)).await;
        assert_eq!(
            found,
            format!("One or more parameter values were invalid: {text}")
        );
    }
}

#[tokio::test]
async fn arns_of_policies_are_looked_through() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let invalid = "One or more parameter values were invalid:";
    let cases = [
        ("abc".to_owned(), format!("{invalid} ARNs must start with 'arn:': abc")),
        (ARN.replace("000000000000", "111111111111"),
            "This action is only supported by accounts that match the resource owner\u{2019}s account.".into()),
        (ARN.replace("us-east-1", "eu-west-1"),
            format!("{invalid} Invalid resource Arn: {}", ARN.replace("us-east-1", "eu-west-1"))),
        (ARN.replace("abc", "nowhere"), "Requested resource not found: Table: nowhere not found".into()),
        (format!("{ARN}/index/gsi"),
            format!("{invalid} Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {ARN}/index/gsi")),
        (format!("{ARN}/backup/1"), format!("{invalid} Provided Arn is not a DynamoDB resource arn: {ARN}/backup/1")),
        (format!("{ARN}/stream/x"), "Requested resource not found: Stream: x not found for Table: abc".into()),
    ];
    for (arn, text) in cases {
        let (_, found) = failure(&backend, "GetResourcePolicy", json!({"ResourceArn": arn})).await;
        assert_eq!(found, text);
    }
}

#[tokio::test]
async fn insights_are_recorded() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let on_index = json!({"TableName": "abc", "IndexName": "gsi"});
    let mut enable = on_index.clone();
    enable["ContributorInsightsAction"] = json!("ENABLE");
    let answer = success(&backend, "UpdateContributorInsights", enable).await;
    assert_eq!(answer["ContributorInsightsStatus"], "ENABLING");
    let answer = success(&backend, "DescribeContributorInsights", on_index).await;
    assert_eq!(answer["ContributorInsightsStatus"], "ENABLED");
    let rules = answer["ContributorInsightsRuleList"].as_array().unwrap();
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert!(
        rules[0]
            .as_str()
            .unwrap()
            .starts_with("DynamoDBContributorInsights-PKC-abc-gsi-")
    );
    let answer = success(
        &backend,
        "DescribeContributorInsights",
        json!({"TableName": "abc"}),
    )
    .await;
    assert_eq!(
        answer,
        json!({"TableName": "abc", "ContributorInsightsStatus": "DISABLED"})
    );
    let first = success(
        &backend,
        "ListContributorInsights",
        json!({"MaxResults": 1}),
    )
    .await;
    assert_eq!(first["ContributorInsightsSummaries"][0]["TableName"], "abc");
    let next = json!({"MaxResults": 1, "NextToken": first["NextToken"]});
    let second = success(&backend, "ListContributorInsights", next).await;
    assert_eq!(
        second["ContributorInsightsSummaries"][0]["IndexName"],
        "gsi"
    );
    assert!(second.get("NextToken").is_none());
    let (code, _) = failure(
        &backend,
        "DescribeContributorInsights",
        json!({"TableName": "abc", "IndexName": "other"}),
    )
    .await;
    assert_eq!(code, "ResourceNotFoundException");
}

#[tokio::test]
async fn destinations_are_recorded_one_active_at_a_time() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let stream = |name: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
    let on = |name: &str| json!({"TableName": "abc", "StreamArn": stream(name)});
    let answer = success(&backend, "EnableKinesisStreamingDestination", on("one")).await;
    assert_eq!(answer["DestinationStatus"], "ENABLING");
    let (_, text) = failure(&backend, "EnableKinesisStreamingDestination", on("two")).await;
    assert!(text.ends_with("must be DISABLED or ENABLE_FAILED to perform ENABLE operation."));
    let mut update = on("one");
    let (_, text) = failure(
        &backend,
        "UpdateKinesisStreamingDestination",
        update.clone(),
    )
    .await;
    assert!(
        text.contains("cannot be null or contain only null values"),
        "{text}"
    );
    update["UpdateKinesisStreamingConfiguration"] =
        json!({"ApproximateCreationDateTimePrecision": "MICROSECOND"});
    success(
        &backend,
        "UpdateKinesisStreamingDestination",
        update.clone(),
    )
    .await;
    let (_, text) = failure(&backend, "UpdateKinesisStreamingDestination", update).await;
    assert!(
        text.starts_with("Invalid Request: Precision is already set"),
        "{text}"
    );
    success(&backend, "DisableKinesisStreamingDestination", on("one")).await;
    let (_, text) = failure(&backend, "DisableKinesisStreamingDestination", on("one")).await;
    assert!(text.ends_with("must be ACTIVE to perform DISABLE operation."));
    success(&backend, "EnableKinesisStreamingDestination", on("two")).await;
    let table = json!({"TableName": "abc"});
    let all = success(&backend, "DescribeKinesisStreamingDestination", table).await;
    let list = all["KinesisDataStreamDestinations"].as_array().unwrap();
    let shown: Vec<_> = list
        .iter()
        .map(|d| d["DestinationStatus"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["DISABLED", "ACTIVE"]);
    assert_eq!(
        list[0]["ApproximateCreationDateTimePrecision"],
        "MICROSECOND"
    );
}

#[tokio::test]
async fn legacy_global_tables_are_refused_word_for_word() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let named = |extra: Value| {
        let mut body = json!({"GlobalTableName": "abc"});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    let group = named(json!({"ReplicationGroup": [{"RegionName": "us-east-1"}]}));
    let (code, text) = failure(&backend, "CreateGlobalTable", group).await;
    assert_eq!(code, "ValidationException");
    assert!(text.starts_with("One or more parameter values were invalid: DynamoDB global tables version 2017.11.29 is not supported."));
    let create = named(json!({"ReplicaUpdates": [{"Create": {"RegionName": "eu-west-1"}}]}));
    assert_eq!(
        failure(&backend, "UpdateGlobalTable", create).await,
        (code, text)
    );
    let delete = named(json!({"ReplicaUpdates": [{"Delete": {"RegionName": "eu-west-1"}}]}));
    assert_eq!(
        failure(&backend, "UpdateGlobalTable", delete).await.0,
        "GlobalTableNotFoundException"
    );
    let (_, text) = failure(
        &backend,
        "UpdateGlobalTable",
        named(json!({"ReplicaUpdates": []})),
    )
    .await;
    assert_eq!(text, "One or more parameter values were invalid");
    let (_, text) = failure(&backend, "DescribeGlobalTable", named(json!({}))).await;
    assert_eq!(
        text,
        "Global table not found: Global table with name: 'abc' does not exist."
    );
    for operation in ["DescribeGlobalTableSettings", "UpdateGlobalTableSettings"] {
        let (code, text) = failure(&backend, operation, named(json!({}))).await;
        assert_eq!(code, "GlobalTableNotFoundException");
        assert_eq!(text, "Global table with name: 'abc' does not exist.");
    }
    assert_eq!(
        success(&backend, "ListGlobalTables", json!({})).await,
        json!({"GlobalTables": []})
    );
    let (code, _) = failure(
        &backend,
        "DescribeTableReplicaAutoScaling",
        json!({"TableName": "abc"}),
    )
    .await;
    assert_eq!(code, "ResourceNotFoundException");
}

#[tokio::test]
async fn recovery_is_recorded_and_restores_nothing() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let set = |spec: Value| json!({"TableName": "abc", "PointInTimeRecoverySpecification": spec});
    let on = set(json!({"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 7}));
    let answer = success(&backend, "UpdateContinuousBackups", on).await;
    let shown = &answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(shown["PointInTimeRecoveryStatus"], "ENABLED");
    assert_eq!(shown["RecoveryPeriodInDays"], 7);
    let restore = json!({"SourceTableName": "abc", "TargetTableName": "def", "UseLatestRestorableTime": true});
    let (code, _) = failure(&backend, "RestoreTableToPointInTime", restore).await;
    assert_eq!(code, "PointInTimeRecoveryUnavailableException");
    let off = set(json!({"PointInTimeRecoveryEnabled": false, "RecoveryPeriodInDays": 7}));
    failure(&backend, "UpdateContinuousBackups", off).await;
    success(
        &backend,
        "UpdateContinuousBackups",
        set(json!({"PointInTimeRecoveryEnabled": false})),
    )
    .await;
    let answer = success(
        &backend,
        "DescribeContinuousBackups",
        json!({"TableName": "abc"}),
    )
    .await;
    assert_eq!(
        answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"],
        json!({"PointInTimeRecoveryStatus": "DISABLED"})
    );
}

#[tokio::test]
async fn auto_scaling_of_global_tables_is_recorded() {
    let backend = TestBackend::new();
    success(&backend, "CreateTable", table()).await;
    let replica =
        json!({"TableName": "abc", "ReplicaUpdates": [{"Create": {"RegionName": "eu-west-1"}}]});
    success(&backend, "UpdateTable", replica).await;
    backend.reports("abc", Progress::Ready);
    let name = json!({"TableName": "abc"});
    let answer = success(&backend, "DescribeTableReplicaAutoScaling", name).await;
    let replicas = answer["TableAutoScalingDescription"]["Replicas"]
        .as_array()
        .unwrap();
    let names: Vec<_> = replicas
        .iter()
        .map(|r| r["RegionName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["eu-west-1", "us-east-1"]);
    let write = |settings: Value| json!({"TableName": "abc", "ProvisionedWriteCapacityAutoScalingUpdate": settings});
    let (_, text) = failure(
        &backend,
        "UpdateTableReplicaAutoScaling",
        write(json!({"MinimumUnits": 1, "MaximumUnits": 9})),
    )
    .await;
    assert!(text.contains("BillingMode is PayPerRequest"), "{text}");
    success(
        &backend,
        "UpdateTableReplicaAutoScaling",
        write(json!({"AutoScalingDisabled": true})),
    )
    .await;
    let provisioned = json!({"TableName": "abc", "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
        "GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "gsi",
            "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}}}]});
    success(&backend, "UpdateTable", provisioned).await;
    let answer = success(
        &backend,
        "UpdateTableReplicaAutoScaling",
        write(json!({"MinimumUnits": 1, "MaximumUnits": 9})),
    )
    .await;
    let shown = &answer["TableAutoScalingDescription"]["Replicas"][0]["ReplicaProvisionedWriteCapacityAutoScalingSettings"];
    assert_eq!(*shown, json!({"MinimumUnits": 1, "MaximumUnits": 9}));
}
