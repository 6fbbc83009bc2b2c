"""PartiQL through boto3: statements, parameters, pages, batches, transactions, errors."""

import boto3
from botocore.exceptions import ClientError

from session import done, named, refused, same

TABLE = named("partiql")
client = boto3.client("dynamodb")
client.create_table(
    TableName=TABLE, BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("n", "N"), ("colour", "S"))],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
    GlobalSecondaryIndexes=[{"IndexName": "by-colour", "KeySchema": [{"AttributeName": "colour", "KeyType": "HASH"}],
                             "Projection": {"ProjectionType": "ALL"}}])
client.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def run(statement, *parameters, **more):
    if parameters:
        more["Parameters"] = list(parameters)
    return client.execute_statement(Statement=statement.format(t=f'"{TABLE}"'), **more)


# Insert, once.
run("INSERT INTO {t} VALUE {{'pk': 'a', 'n': 0, 'colour': 'red', 'deep': {{'steps': [1, 'two', true, NULL]}}}}")
refused(client.exceptions.DuplicateItemException, "Duplicate primary key exists in table", lambda: run("INSERT INTO {t} VALUE {{'pk': 'a', 'n': 0}}"))
for n in range(1, 10):
    run("INSERT INTO {t} VALUE {{'pk': 'a', 'n': ?, 'colour': ?}}", {"N": str(n)}, {"S": "blue" if n % 2 else "red"})

# Select.
whole = run("SELECT * FROM {t} WHERE pk = 'a' AND n = 0")["Items"]
same(whole, [{"pk": {"S": "a"}, "n": {"N": "0"}, "colour": {"S": "red"},
              "deep": {"M": {"steps": {"L": [{"N": "1"}, {"S": "two"}, {"BOOL": True}, {"NULL": True}]}}}}], "a whole item")
same(run("SELECT n FROM {t} WHERE pk = ? AND n BETWEEN ? AND ? ORDER BY n DESC", {"S": "a"}, {"N": "3"}, {"N": "5"})["Items"],
     [{"n": {"N": str(n)}} for n in (5, 4, 3)], "a range, backwards")
same(len(run("SELECT * FROM {t}.\"by-colour\" WHERE colour = 'blue'")["Items"]), 5, "an index")
same(len(run("SELECT * FROM {t} WHERE colour = 'red' AND n > 5")["Items"]), 2, "a scan")
same(run("SELECT * FROM {t} WHERE pk IN ['a', 'b'] AND n = 7", ConsistentRead=True)["Items"][0]["n"], {"N": "7"}, "IN")
page = run("SELECT n FROM {t} WHERE pk = 'a'", Limit=6)
rest = run("SELECT n FROM {t} WHERE pk = 'a'", NextToken=page["NextToken"])
same([int(item["n"]["N"]) for item in page["Items"] + rest["Items"]], list(range(10)), "pages")
same("NextToken" in rest, False, "and the end")

# Update and delete.
updated = run("UPDATE {t} SET deep.steps[0] = 5 SET seen = 1 REMOVE colour WHERE pk = 'a' AND n = 0 RETURNING ALL NEW *")["Items"][0]
same((updated["deep"]["M"]["steps"]["L"][0], updated["seen"], "colour" in updated), ({"N": "5"}, {"N": "1"}, False), "ALL NEW")
refused(client.exceptions.ConditionalCheckFailedException, "The conditional request failed",
        lambda: run("UPDATE {t} SET seen = 2 WHERE pk = 'a' AND n = 0 AND seen = 7"))
same(run("DELETE FROM {t} WHERE pk = 'a' AND n = 9 RETURNING ALL OLD *")["Items"][0]["colour"], {"S": "blue"}, "ALL OLD")
refused(ClientError, "ValidationException", lambda: run("SELEKT * FROM {t}"))
refused(client.exceptions.ResourceNotFoundException, "Requested resource not found", lambda: client.execute_statement(Statement=f'SELECT * FROM "{TABLE}-none" WHERE pk = \'a\''))

# Batches and transactions.
batch = client.batch_execute_statement(Statements=[
    {"Statement": f"INSERT INTO \"{TABLE}\" VALUE {{'pk': 'b', 'n': 1}}"}, {"Statement": f"INSERT INTO \"{TABLE}\" VALUE {{'pk': 'a', 'n': 1}}"}])["Responses"]
same([answer.get("Error", {}).get("Code") for answer in batch], [None, "DuplicateItem"], "a batch, half of it")
move = [{"Statement": f"UPDATE \"{TABLE}\" SET total = ? WHERE pk = 'b' AND n = 1", "Parameters": [{"N": "5"}]},
        {"Statement": f"DELETE FROM \"{TABLE}\" WHERE pk = 'a' AND n = 8 AND colour = ?", "Parameters": [{"S": "red"}]}]
client.execute_transaction(TransactStatements=move)
same(run("SELECT total FROM {t} WHERE pk = 'b' AND n = 1")["Items"], [{"total": {"N": "5"}}], "a transaction")
move[0]["Parameters"] = [{"N": "6"}]
move[1]["Parameters"] = [{"S": "green"}]
move[1]["Statement"] = move[1]["Statement"].replace("n = 8", "n = 7")
error = refused(client.exceptions.TransactionCanceledException, "[None, ConditionalCheckFailed]", lambda: client.execute_transaction(TransactStatements=move))
same([reason["Code"] for reason in error.response["CancellationReasons"]], ["None", "ConditionalCheckFailed"], "or none of it")
same(run("SELECT total FROM {t} WHERE pk = 'b' AND n = 1")["Items"], [{"total": {"N": "5"}}], "nothing moved")

client.delete_table(TableName=TABLE)
done(f"boto3 {boto3.__version__}, PartiQL")
