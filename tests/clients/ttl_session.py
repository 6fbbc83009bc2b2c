"""Time To Live through boto3: its setting, and items that expire."""

import time

import boto3
from botocore.exceptions import ClientError

from session import done, eventually, named, refused, same

TABLE = named("ttl")
client = boto3.client("dynamodb")
client.create_table(
    TableName=TABLE, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}])
client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def setting():
    return client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]


def turn(on):
    return client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": on, "AttributeName": "due"})


same(setting(), {"TimeToLiveStatus": "DISABLED"}, "off at first")
refused(ClientError, "TimeToLive is already disabled", lambda: turn(False))
same(turn(True)["TimeToLiveSpecification"], {"Enabled": True, "AttributeName": "due"}, "turned on")
eventually(lambda: setting() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "due"}, "on")
refused(ClientError, "ValidationException", lambda: turn(True))

# What has expired goes; what has not, what has no time, and what expired more than five years ago stay.
now = int(time.time())
for name, due in (("past", {"N": str(now - 10)}), ("soon", {"N": str(now + 2)}), ("later", {"N": str(now + 3600)}),
                  ("text", {"S": str(now - 10)}), ("ancient", {"N": str(now - 6 * 366 * 86400)})):
    client.put_item(TableName=TABLE, Item={"pk": {"S": name}, "due": due})
client.put_item(TableName=TABLE, Item={"pk": {"S": "none"}})


def names():
    return sorted(item["pk"]["S"] for item in client.scan(TableName=TABLE, ConsistentRead=True)["Items"])


eventually(lambda: names() == ["ancient", "later", "none", "text"], "two have expired", seconds=90)
ireland = boto3.client("dynamodb", region_name="eu-west-1")
eventually(lambda: ireland.scan(TableName=TABLE, Select="COUNT")["Count"] == 4, "and in Ireland", seconds=90)
client.delete_table(TableName=TABLE)
done(f"boto3 {boto3.__version__}, Time To Live")
