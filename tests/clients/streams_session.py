"""DynamoDB Streams through boto3: the stream of a table, its shards and records, iterators, the stream's end."""

import boto3
from botocore.exceptions import ClientError

from session import done, eventually, holds, named, refused, same

TABLE = named("streams")
client = boto3.client("dynamodb")
streams = boto3.client("dynamodbstreams")


def key(n):
    return {"pk": {"S": "a"}, "n": {"N": str(n)}}


def shards(arn):
    return streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]


def read(arn, **start):
    """Every record of the stream from each shard's start, oldest shard first."""
    found = []
    for shard in shards(arn):
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], **(start or {"ShardIteratorType": "TRIM_HORIZON"}))["ShardIterator"]
        empty = 0
        while iterator and empty < 3:
            answer = streams.get_records(ShardIterator=iterator, Limit=2)
            holds(len(answer["Records"]) <= 2, "no more than the limit")
            found += answer["Records"]
            empty = 0 if answer["Records"] else empty + 1
            iterator = answer.get("NextShardIterator")
    return found


client.create_table(
    TableName=TABLE, BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "n", "AttributeType": "N"}],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
    StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
table = client.describe_table(TableName=TABLE)["Table"]
arn = table["LatestStreamArn"]
same(arn, f"{table['TableArn']}/stream/{table['LatestStreamLabel']}", "the stream's ARN")
same(table["StreamSpecification"], {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}, "the specification")
listed = streams.list_streams(TableName=TABLE)["Streams"]
same([(stream["StreamArn"], stream["TableName"]) for stream in listed], [(arn, TABLE)], "list_streams")
described = streams.describe_stream(StreamArn=arn)["StreamDescription"]
same((described["StreamStatus"], described["StreamViewType"], described["TableName"]), ("ENABLED", "NEW_AND_OLD_IMAGES", TABLE), "describe_stream")
same([(part["AttributeName"], part["KeyType"]) for part in described["KeySchema"]], [("pk", "HASH"), ("n", "RANGE")], "its key schema")
holds(described["Shards"], "shards")

# A write each, and some that change nothing.
client.put_item(TableName=TABLE, Item={**key(1), "v": {"S": "first"}})
client.put_item(TableName=TABLE, Item={**key(1), "v": {"S": "first"}})
client.update_item(TableName=TABLE, Key=key(1), UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": {"S": "second"}})
client.delete_item(TableName=TABLE, Key=key(9))
client.delete_item(TableName=TABLE, Key=key(1))
client.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": key(n)}} for n in (2, 3)])
records = eventually(lambda: (found := read(arn)) and len(found) >= 5 and found, "five records")
same([record["eventName"] for record in records if record["dynamodb"]["Keys"] == key(1)], ["INSERT", "MODIFY", "REMOVE"], "the life of an item")
same(sorted(record["dynamodb"]["Keys"]["n"]["N"] for record in records), ["1", "1", "1", "2", "3"], "nothing for what changed nothing")
life = [record["dynamodb"] for record in records if record["dynamodb"]["Keys"] == key(1)]
first, second = ({**key(1), "v": {"S": word}} for word in ("first", "second"))
same([(change.get("OldImage"), change.get("NewImage")) for change in life], [(None, first), (first, second), (second, None)], "images")
numbers = [int(change["SequenceNumber"]) for change in life]
same(numbers, sorted(set(numbers)), "sequence numbers rise")
same({(record["eventSource"], record["awsRegion"], record["eventVersion"]) for record in records}, {("aws:dynamodb", "us-east-1", "1.1")}, "envelope")
same(len({record["eventID"] for record in records}), 5, "every record has its own id")
same(life[0]["StreamViewType"], "NEW_AND_OLD_IMAGES", "view")

# Iterators by place: the shard that has item 1, after its first record, and from now on.
home = next(shard["ShardId"] for shard in shards(arn)
            if int(shard["SequenceNumberRange"]["StartingSequenceNumber"]) <= numbers[0]
            and any(r["dynamodb"]["SequenceNumber"] == life[0]["SequenceNumber"] for r in streams.get_records(
                ShardIterator=streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"])["Records"]))
for kind, wanted in (("AT_SEQUENCE_NUMBER", life[1]), ("AFTER_SEQUENCE_NUMBER", life[2])):
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=home, ShardIteratorType=kind, SequenceNumber=life[1]["SequenceNumber"])["ShardIterator"]
    same(streams.get_records(ShardIterator=iterator)["Records"][0]["dynamodb"]["SequenceNumber"], wanted["SequenceNumber"], kind)
latest = streams.get_shard_iterator(StreamArn=arn, ShardId=shards(arn)[-1]["ShardId"], ShardIteratorType="LATEST")["ShardIterator"]
same(streams.get_records(ShardIterator=latest)["Records"], [], "nothing since the latest")

refused(streams.exceptions.ResourceNotFoundException, "", lambda: streams.describe_stream(StreamArn=arn[:-1] + ("1" if arn[-1] != "1" else "2")))
refused(ClientError, "ValidationException", lambda: streams.get_shard_iterator(StreamArn=arn, ShardId=home, ShardIteratorType="AT_SEQUENCE_NUMBER"))
refused(ClientError, "ValidationException", lambda: client.update_table(
    TableName=TABLE, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}))
done(f"boto3 {boto3.__version__}, streams")
client.delete_table(TableName=TABLE)
