"""PynamoDB: models, indexes, conditions, transactions, batches, the version attribute, a TTL attribute."""

from datetime import datetime, timedelta, timezone

import pynamodb
from pynamodb.attributes import (
    BooleanAttribute, JSONAttribute, ListAttribute, MapAttribute, NumberAttribute, NumberSetAttribute,
    TTLAttribute, UnicodeAttribute, UnicodeSetAttribute, UTCDateTimeAttribute, VersionAttribute)
from pynamodb.connection import Connection
from pynamodb.exceptions import DeleteError, PutError, TransactWriteError, UpdateError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

from session import ENDPOINT, done, eventually, holds, named, refused, same


class ByAuthor(GlobalSecondaryIndex):
    class Meta:
        index_name = "by-author"
        projection = AllProjection()

    author = UnicodeAttribute(hash_key=True)
    year = NumberAttribute(range_key=True)


class ByYear(LocalSecondaryIndex):
    class Meta:
        index_name = "by-year"
        projection = KeysOnlyProjection()

    shelf = UnicodeAttribute(hash_key=True)
    year = NumberAttribute(range_key=True)


class Publisher(MapAttribute):
    name = UnicodeAttribute()
    city = UnicodeAttribute(null=True)


class Book(Model):
    class Meta:
        table_name = named("pynamodb-books")
        host = ENDPOINT
        region = "us-east-1"
        billing_mode = "PAY_PER_REQUEST"

    shelf = UnicodeAttribute(hash_key=True)
    title = UnicodeAttribute(range_key=True)
    author = UnicodeAttribute()
    year = NumberAttribute()
    lent = BooleanAttribute(default=False)
    tags = UnicodeSetAttribute(null=True)
    editions = NumberSetAttribute(null=True)
    publisher = Publisher(null=True)
    readers = ListAttribute(default=list)
    extra = JSONAttribute(null=True)
    bought = UTCDateTimeAttribute(null=True)
    due = TTLAttribute(null=True)
    by_author = ByAuthor()
    by_year = ByYear()


class Account(Model):
    class Meta:
        table_name = named("pynamodb-accounts")
        host = ENDPOINT
        region = "us-east-1"
        read_capacity_units = 1
        write_capacity_units = 1

    owner = UnicodeAttribute(hash_key=True)
    balance = NumberAttribute(default=0)
    version = VersionAttribute()


connection = Connection(region="us-east-1", host=ENDPOINT)
for model in (Book, Account):
    holds(not model.exists(), "no table yet")
    model.create_table(wait=True)
    holds(model.exists(), "a table")
same(Account.describe_table()["ProvisionedThroughput"]["WriteCapacityUnits"], 1, "provisioned")
same({index["IndexName"] for index in Book.describe_table()["LocalSecondaryIndexes"]}, {"by-year"}, "the local index")
eventually(lambda: connection.client.describe_time_to_live(TableName=Book.Meta.table_name)["TimeToLiveDescription"]
           == {"TimeToLiveStatus": "ENABLED", "AttributeName": "due"}, "the TTL attribute turns expiry on")

# Every attribute of a model comes back as it was put.
bought = datetime(2024, 2, 29, 12, 30, 1, 250000, tzinfo=timezone.utc)
due = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
Book("fiction", "Solaris", author="Lem", year=1961, tags={"space", "sea"}, editions={1, 2}, readers=["Kris", 7],
     publisher=Publisher(name="MON", city="Warszawa"), extra={"a": [1, None]}, bought=bought, due=due).save()
book = Book.get("fiction", "Solaris", consistent_read=True)
same((book.tags, book.editions, book.readers, book.lent), ({"space", "sea"}, {1, 2}, ["Kris", 7], False), "sets, list, default")
same((book.publisher.city, book.extra, book.bought, book.due), ("Warszawa", {"a": [1, None]}, bought, due), "map, JSON, times")
refused(Book.DoesNotExist, "Item does not exist", lambda: Book.get("fiction", "Eden"))

# Conditions.
refused(PutError, "The conditional request failed",
        lambda: Book("fiction", "Solaris", author="x", year=1).save(Book.title.does_not_exist()))
book.update(actions=[Book.lent.set(True), Book.readers.set(Book.readers.append(["Snaut"])), Book.tags.delete({"sea"}),
                     Book.editions.add({3}), Book.due.remove(), Book.publisher.name.set("PWN")],
            condition=(Book.year > 1960) & Book.author.startswith("L") & (Book.lent == False) & Book.tags.contains("sea"))  # noqa: E712
same((book.lent, book.readers, book.tags, book.editions), (True, ["Kris", 7, "Snaut"], {"space"}, {1, 2, 3}), "SET, ADD, DELETE")
same((book.due, book.publisher.name), (None, "PWN"), "REMOVE, and SET within a map")
refused(UpdateError, "ConditionalCheckFailedException", lambda: book.update(actions=[Book.year.add(1)], condition=Book.lent == False))  # noqa: E712
refused(DeleteError, "ConditionalCheckFailedException", lambda: book.delete(Book.year.is_in(1, 2)))

# Batches, queries with pages, indexes, counts.
with Book.batch_write() as batch:
    for n in range(40):
        batch.save(Book("science", f"Volume {n:02}", author="Lem" if n % 2 else "Hawking", year=1950 + n))
same(Book.count("science"), 40, "count")
same([b.title for b in Book.query("science", Book.title.between("Volume 05", "Volume 07"))], [f"Volume 0{n}" for n in (5, 6, 7)], "between")
paged = Book.query("science", page_size=7, limit=30, scan_index_forward=False)
same([b.year for b in paged], list(range(1989, 1959, -1)), "pages, backwards, to the limit")
holds(paged.last_evaluated_key["title"] == {"S": "Volume 10"}, "where the pages go on")
rest = Book.query("science", scan_index_forward=False, last_evaluated_key=paged.last_evaluated_key)
same([b.year for b in rest], list(range(1959, 1949, -1)), "and they do")
same([b.title for b in Book.by_author.query("Lem", ByAuthor.year >= 1985)], ["Volume 35", "Volume 37", "Volume 39"], "global index")
same([b.title for b in Book.by_year.query("science", ByYear.year < 1952)], ["Volume 00", "Volume 01"], "local index")
same(sum(1 for _ in Book.scan(Book.publisher.exists() | (Book.year == 1950), page_size=5)), 2, "scan with a filter")
same(len(list(Book.batch_get([("science", f"Volume {n:02}") for n in range(40)] + [("science", "none")]))), 40, "batch_get")

# The version attribute: the one who read first and writes last is refused.
account = Account("Ada", balance=100)
account.save()
same(account.version, 1, "the first version")
stale = Account.get("Ada")
account.update(actions=[Account.balance.set(Account.balance - 10)])
same((account.version, account.balance), (2, 90), "the second version")
refused(PutError, "ConditionalCheckFailedException", stale.save)
refused(DeleteError, "ConditionalCheckFailedException", stale.delete)

# Transactions.
Account("Bob").save()
bob = Account.get("Bob")
with TransactWrite(connection=connection) as transaction:
    transaction.update(account, actions=[Account.balance.add(-40)], condition=Account.balance >= 40)
    transaction.update(bob, actions=[Account.balance.add(40)])
    transaction.condition_check(Book, "fiction", "Solaris", condition=Book.title.exists())
with TransactGet(connection=connection) as transaction:
    futures = [transaction.get(Account, owner) for owner in ("Ada", "Bob")]
same([future.get().balance for future in futures], [50, 40], "moved")


def too_much():
    with TransactWrite(connection=connection) as transaction:
        transaction.save(Account("Eve", balance=1))
        transaction.delete(Account.get("Ada"), condition=Account.balance > 1000)


error = refused(TransactWriteError, "Failed to write transaction items", too_much)
same(error.cause_response_code, "TransactionCanceledException", "code")
same([reason and reason.code for reason in error.cancellation_reasons], ["ConditionalCheckFailed", None], "reasons (it sends deletes first)")
refused(Account.DoesNotExist, "", lambda: Account.get("Eve"))

for model in (Book, Account):
    model.delete_table()
done(f"pynamodb {pynamodb.__version__}")
