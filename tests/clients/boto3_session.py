"""boto3: client and resource, two regions through one endpoint, paginators, waiters, transactions, every type."""

from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from session import done, eventually, holds, named, refused, same

TABLE = named("boto3")
client = boto3.client("dynamodb", region_name="us-east-1")
ireland = boto3.client("dynamodb", region_name="eu-west-1")
resource = boto3.resource("dynamodb", region_name="us-east-1")


def create():
    made = client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "colour", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-colour",
                "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["n"]},
            }
        ],
        Tags=[{"Key": "made-by", "Value": "boto3"}],
    )["TableDescription"]
    same(made["TableName"], TABLE, "the name")
    holds(made["TableStatus"] in ("CREATING", "ACTIVE"), "a new table's status")
    client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    resource.Table(TABLE).wait_until_exists()

    # What Terraform and CloudFormation ask right after they have made a table.
    table = client.describe_table(TableName=TABLE)["Table"]
    same(table["TableStatus"], "ACTIVE", "status")
    same(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST", "billing")
    holds(table["TableArn"].endswith(f":table/{TABLE}"), "the ARN")
    index = table["GlobalSecondaryIndexes"][0]
    same((index["IndexName"], index["IndexStatus"]), ("by-colour", "ACTIVE"), "the index")
    same(index["Projection"]["NonKeyAttributes"], ["n"], "the projection")
    backups = client.describe_continuous_backups(TableName=TABLE)["ContinuousBackupsDescription"]
    same(backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "DISABLED", "recovery")
    ttl = client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    same(ttl, {"TimeToLiveStatus": "DISABLED"}, "TTL")
    tags = client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    same(tags, [{"Key": "made-by", "Value": "boto3"}], "tags")
    refused(client.exceptions.ResourceInUseException, "Table already exists", lambda: client.create_table(
        TableName=TABLE, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}]))
    names = [name for page in client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
             for name in page["TableNames"]]
    holds(TABLE in names and names == sorted(names), "list_tables, a name a page")


def types():
    table = resource.Table(TABLE)
    item = {
        "pk": "types", "sk": Decimal(1), "text": "Grüße, 世界 🌍", "empty": "", "true": True, "null": None,
        "small": Decimal("1E-120"), "large": Decimal("9.9999999999999999999999999999999999999E+37"),
        "exact": Decimal("-12345678901234567890.123456789012345678"), "bytes": Binary(bytes(range(256))),
        "texts": {"a", "b"}, "numbers": {Decimal(1), Decimal("2.5")}, "blobs": {Binary(b"\0"), Binary(b"\xff")},
        "list": [Decimal(1), "two", [None, {"deep": [False]}]], "map": {"inner": {}}, "no list": [],
    }
    table.put_item(Item=item)
    same(table.get_item(Key={"pk": "types", "sk": 1}, ConsistentRead=True)["Item"], item, "every type comes back")
    # DynamoDB writes numbers out in full, which the resource refuses to read from 39 digits on (boto3's issue 2500).
    edges = {"pk": {"S": "edges"}, "sk": {"N": "1"}, "large": {"N": "9.9999999999999999999999999999999999999E+125"}, "small": {"N": "1e-130"}}
    client.put_item(TableName=TABLE, Item=edges)
    got = client.get_item(TableName=TABLE, Key={"pk": {"S": "edges"}, "sk": {"N": "1.0"}})["Item"]
    same((got["large"], got["small"]), ({"N": "9" * 38 + "0" * 88}, {"N": f"0.{'0' * 129}1"}), "the edges of numbers")
    refused(ClientError, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            lambda: client.put_item(TableName=TABLE, Item={"pk": {"S": "x"}, "sk": {}}))
    refused(ClientError, "Attempting to store more than 38 significant digits in a Number",
            lambda: client.put_item(TableName=TABLE, Item={"pk": {"S": "x"}, "sk": {"N": "1" * 39}}))


def writes():
    table = resource.Table(TABLE)
    with table.batch_writer() as batch:
        for n in range(60):
            batch.put_item({"pk": "run", "sk": n, "n": n * n, "colour": "red" if n % 3 else "blue", "pad": "x" * 50})
    answer = table.update_item(
        Key={"pk": "run", "sk": 7}, UpdateExpression="SET #n = #n + :one, seen = list_append(if_not_exists(seen, :none), :new)",
        ConditionExpression=Attr("n").eq(49) & Attr("seen").not_exists(), ExpressionAttributeNames={"#n": "n"},
        ExpressionAttributeValues={":one": 1, ":none": [], ":new": ["boto3"]}, ReturnValues="UPDATED_NEW")
    same(answer["Attributes"], {"n": Decimal(50), "seen": ["boto3"]}, "UPDATED_NEW")
    error = refused(client.exceptions.ConditionalCheckFailedException, "The conditional request failed", lambda: client.put_item(
        TableName=TABLE, Item={"pk": {"S": "run"}, "sk": {"N": "7"}}, ConditionExpression="attribute_not_exists(pk)",
        ReturnValuesOnConditionCheckFailure="ALL_OLD"))
    same(error.response["Item"]["n"], {"N": "50"}, "the item that stood in the way")
    old = table.delete_item(Key={"pk": "run", "sk": 59}, ReturnValues="ALL_OLD")["Attributes"]
    same(old["n"], Decimal(59 * 59), "ALL_OLD of a delete")
    got = resource.batch_get_item(RequestItems={TABLE: {
        "Keys": [{"pk": "run", "sk": n} for n in (3, 4, 59)], "ProjectionExpression": "sk"}})
    same(sorted(item["sk"] for item in got["Responses"][TABLE]), [3, 4], "batch_get_item, one absent")
    same(got["UnprocessedKeys"], {}, "nothing left over")


def reads():
    table = resource.Table(TABLE)
    answer = table.query(KeyConditionExpression=Key("pk").eq("run") & Key("sk").between(10, 20),
                         FilterExpression=Attr("colour").eq("blue"), ScanIndexForward=False)
    same([int(item["sk"]) for item in answer["Items"]], [18, 15, 12], "between, filtered, backwards")
    same((answer["Count"], answer["ScannedCount"]), (3, 11), "counts")
    pages = list(client.get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "run"}},
        PaginationConfig={"PageSize": 25}))
    same([page["Count"] for page in pages], [25, 25, 9], "pages of a query")
    same([int(item["sk"]["N"]) for page in pages for item in page["Items"]], list(range(59)), "numbers in order")
    found = client.get_paginator("scan").paginate(
        TableName=TABLE, FilterExpression="n >= :n", ExpressionAttributeValues={":n": {"N": "2500"}},
        PaginationConfig={"PageSize": 10, "MaxItems": 1000}).build_full_result()["Items"]
    same(sorted(int(item["sk"]["N"]) for item in found), list(range(50, 59)), "a paged, filtered scan")
    halves = [table.scan(Segment=s, TotalSegments=2, Select="COUNT")["Count"] for s in (0, 1)]
    same(sum(halves), 61, "a parallel scan")
    blue = table.query(IndexName="by-colour", KeyConditionExpression=Key("colour").eq("blue"))["Items"]
    same(len(blue), 20, "the index")
    same(set(blue[0]), {"pk", "sk", "colour", "n"}, "what the index projects")
    refused(ClientError, "Consistent reads are not supported on global secondary indexes", lambda: table.query(
        IndexName="by-colour", KeyConditionExpression=Key("colour").eq("blue"), ConsistentRead=True))
    used = table.query(KeyConditionExpression=Key("pk").eq("run"), ReturnConsumedCapacity="TOTAL", ConsistentRead=True)
    same(used["ConsumedCapacity"]["TableName"], TABLE, "consumed capacity")


def transactions():
    def at(n):
        return {"pk": {"S": "money"}, "sk": {"N": str(n)}}

    def move(amount, token):
        return client.transact_write_items(ClientRequestToken=token, TransactItems=[
            {"Update": {"TableName": TABLE, "Key": at(1), "UpdateExpression": "SET n = n - :a",
                        "ConditionExpression": "n >= :a", "ExpressionAttributeValues": {":a": {"N": str(amount)}}}},
            {"Update": {"TableName": TABLE, "Key": at(2), "UpdateExpression": "ADD n :a",
                        "ExpressionAttributeValues": {":a": {"N": str(amount)}}}}])

    for n in (1, 2):
        client.put_item(TableName=TABLE, Item={**at(n), "n": {"N": "100"}})
    for _ in range(2):
        move(30, f"thirty-{TABLE}"[:36])
    error = refused(client.exceptions.TransactionCanceledException, "[ConditionalCheckFailed, None]", lambda: move(80, f"eighty-{TABLE}"[:36]))
    same([reason["Code"] for reason in error.response["CancellationReasons"]], ["ConditionalCheckFailed", "None"], "reasons")
    both = client.transact_get_items(TransactItems=[{"Get": {"TableName": TABLE, "Key": at(n)}} for n in (1, 2)])
    same([answer["Item"]["n"]["N"] for answer in both["Responses"]], ["70", "130"], "moved once, and only once")
    refused(client.exceptions.IdempotentParameterMismatchException, "", lambda: move(31, f"thirty-{TABLE}"[:36]))


def regions():
    waiter = ireland.get_waiter("table_exists")
    waiter.wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    key = {"pk": {"S": "far"}, "sk": {"N": "1"}}
    client.put_item(TableName=TABLE, Item={**key, "from": {"S": "us-east-1"}})
    item = eventually(lambda: ireland.get_item(TableName=TABLE, Key=key).get("Item"), "Ireland reads what Virginia wrote")
    same(item["from"], {"S": "us-east-1"}, "what it reads")
    ireland.update_item(TableName=TABLE, Key=key, UpdateExpression="SET answered = :b", ExpressionAttributeValues={":b": {"BOOL": True}})
    eventually(lambda: "answered" in client.get_item(TableName=TABLE, Key=key)["Item"], "and Virginia what Ireland wrote")
    arn = ireland.describe_table(TableName=TABLE)["Table"]["TableArn"]
    holds(":eu-west-1:" in arn, "each region has its own ARN")


def delete():
    resource.Table(TABLE).delete()
    client.get_waiter("table_not_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    refused(client.exceptions.ResourceNotFoundException, "Requested resource not found",
            lambda: client.get_item(TableName=TABLE, Key={"pk": {"S": "a"}, "sk": {"N": "1"}}))


for part in (create, types, writes, reads, transactions, regions, delete):
    part()
done(f"boto3 {boto3.__version__}")
