// AWS SDK for JavaScript v3: client-dynamodb, lib-dynamodb's DocumentClient, paginators, waiters.

import {
  ConditionalCheckFailedException, CreateTableCommand, DeleteTableCommand, DescribeTableCommand, DynamoDB, DynamoDBClient,
  GetItemCommand, paginateListTables, paginateScan, PutItemCommand, ResourceInUseException, TransactionCanceledException,
  UpdateTableCommand, waitUntilTableExists, waitUntilTableNotExists,
} from '@aws-sdk/client-dynamodb'
import {
  BatchGetCommand, BatchWriteCommand, DeleteCommand, DynamoDBDocument, DynamoDBDocumentClient, GetCommand, NumberValue,
  paginateQuery, paginateScan as paginateDocuments, PutCommand, QueryCommand, TransactGetCommand, TransactWriteCommand, UpdateCommand,
} from '@aws-sdk/lib-dynamodb'
import { all, done, eventually, holds, named, refused, same } from './session.mjs'

const TableName = named('sdk-js')
const client = new DynamoDBClient({})
const document = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } })
const wait = { client, maxWaitTime: 20, minDelay: 1 }

// Tables.
const definition = {
  TableName,
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: ['pk', 'sk', 'kind'].map(AttributeName => ({ AttributeName, AttributeType: 'S' })),
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  GlobalSecondaryIndexes: [{
    IndexName: 'kinds',
    KeySchema: [{ AttributeName: 'kind', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
    Projection: { ProjectionType: 'ALL' },
  }],
}
const { TableDescription } = await client.send(new CreateTableCommand(definition))
holds(TableDescription.CreationDateTime instanceof Date && Date.now() - TableDescription.CreationDateTime < 60_000, 'creation time')
same((await waitUntilTableExists(wait, { TableName })).state, 'SUCCESS', 'the waiter')
const { Table } = await client.send(new DescribeTableCommand({ TableName }))
same([Table.TableStatus, Table.GlobalSecondaryIndexes[0].IndexStatus], ['ACTIVE', 'ACTIVE'], 'status')
const again = await refused('ResourceInUseException', TableName, () => client.send(new CreateTableCommand(definition)))
holds(again instanceof ResourceInUseException, 'a typed error')
same([again.$metadata.httpStatusCode, again.$fault], [400, 'client'], 'its metadata')
const pages = await all(paginateListTables({ client, pageSize: 1 }, {}))
holds(pages.flatMap(page => page.TableNames).includes(TableName), 'the table, in pages of one')
same((await client.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: true }))).TableDescription.DeletionProtectionEnabled, true, 'protected')
await refused('ValidationException', 'deletion protection', () => client.send(new DeleteTableCommand({ TableName })))
await client.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: false }))

// The plain client: bytes, sets, numbers to the last digit; a retry-safe answer has a request id.
const plain = {
  pk: { S: 'plain' }, sk: { S: '1' }, bytes: { B: Uint8Array.of(0, 255, 128) }, numbers: { NS: ['3', '-1', '2.5'] },
  long: { N: '12345678901234567890.123456789012345678' }, list: { L: [{ NULL: true }, { M: { x: { BOOL: false } } }] },
}
const put = await client.send(new PutItemCommand({ TableName, Item: plain }))
holds(/^[A-Z0-9]{52}$/.test(put.$metadata.requestId), 'request id')
const { Item } = await client.send(new GetItemCommand({ TableName, Key: { pk: plain.pk, sk: plain.sk } }))
same([...Item.bytes.B], [0, 255, 128], 'bytes')
same([Item.long, Item.list, [...Item.numbers.NS].sort()], [plain.long, plain.list, ['-1', '2.5', '3']], 'numbers and nesting')

// Documents.
const first = { pk: 'doc', sk: 'a', kind: 'note', tags: new Set(['x', 'y']), when: null, deep: { list: [1, 'two', { three: 3.5 }] }, emoji: '🦀' }
await document.send(new PutCommand({ TableName, Item: { ...first, gone: undefined } }))
same((await document.send(new GetCommand({ TableName, Key: { pk: 'doc', sk: 'a' } }))).Item, first, 'a document comes back')
same((await document.send(new GetCommand({ TableName, Key: { pk: 'doc', sk: 'none' } }))).Item, undefined, 'none')
const exact = DynamoDBDocument.from(new DynamoDBClient({}), { unmarshallOptions: { wrapNumbers: true } })
same((await exact.get({ TableName, Key: { pk: 'plain', sk: '1' } })).Item.long, NumberValue.from(plain.long.N), 'wrapped numbers')
const updated = await document.send(new UpdateCommand({
  TableName, Key: { pk: 'doc', sk: 'a' },
  UpdateExpression: 'SET deep.#l[0] = deep.#l[0] + :one REMOVE emoji DELETE tags :x',
  ConditionExpression: 'size(deep.#l) = :three AND contains(tags, :y)',
  ExpressionAttributeNames: { '#l': 'list' },
  ExpressionAttributeValues: { ':one': 1, ':three': 3, ':x': new Set(['x']), ':y': 'y' }, ReturnValues: 'ALL_NEW',
}))
same(updated.Attributes, { pk: 'doc', sk: 'a', kind: 'note', tags: new Set(['y']), when: null, deep: { list: [2, 'two', { three: 3.5 }] } }, 'ALL_NEW')
const failed = await refused('ConditionalCheckFailedException', 'The conditional request failed', () => document.send(new DeleteCommand({
  TableName, Key: { pk: 'doc', sk: 'a' }, ConditionExpression: 'attribute_exists(emoji)', ReturnValuesOnConditionCheckFailure: 'ALL_OLD' })))
holds(failed instanceof ConditionalCheckFailedException && failed.Item.kind.S === 'note', 'with the item that stood in the way')
await refused('ValidationException', 'Condition parameter type does not match schema type', () =>
  document.send(new QueryCommand({ TableName, KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': 1 } })))

// Batches and pages.
const pad = 'p'.repeat(20_000)
for (let from = 0; from < 100; from += 25) {
  const puts = Array.from({ length: 25 }, (_, n) => ({
    PutRequest: { Item: { pk: 'run', sk: String(from + n).padStart(3, '0'), kind: (from + n) % 2 ? 'odd' : 'even', pad } } }))
  same((await document.send(new BatchWriteCommand({ RequestItems: { [TableName]: puts } }))).UnprocessedItems, {}, 'a batch, whole')
}
// (A paginator writes its start key into the input it is given: each gets a copy.)
const query = { TableName, KeyConditionExpression: 'pk = :p', ExpressionAttributeValues: { ':p': 'run' } }
const one = await document.send(new QueryCommand(query))
holds(one.Count < 100 && one.LastEvaluatedKey.pk === 'run', 'two megabytes are more than one page')
const byBytes = await all(paginateQuery({ client: document }, { ...query }))
same(byBytes.flatMap(page => page.Items.map(item => Number(item.sk))), Array.from({ length: 100 }, (_, n) => n), 'every page, in order')
const byTens = await all(paginateQuery({ client: document, pageSize: 10 }, {
  ...query, IndexName: 'kinds', KeyConditionExpression: 'kind = :p AND sk >= :s', ProjectionExpression: 'sk',
  ExpressionAttributeValues: { ':p': 'odd', ':s': '050' }, ScanIndexForward: false }))
same(byTens.flatMap(page => page.Items.map(item => Number(item.sk))), Array.from({ length: 25 }, (_, n) => 99 - 2 * n), 'the index, backwards')
const scanned = await all(paginateScan({ client, pageSize: 30 }, { TableName, FilterExpression: 'kind = :k', ExpressionAttributeValues: { ':k': { S: 'even' } }, ProjectionExpression: 'sk' }))
same(scanned.reduce((sum, page) => sum + page.Count, 0), 50, 'a filtered scan')
const parts = await Promise.all([0, 1, 2].map(Segment => all(paginateDocuments({ client: document }, { TableName, Segment, TotalSegments: 3, Select: 'COUNT' }))))
same(parts.flat().reduce((sum, page) => sum + page.Count, 0), 102, 'a parallel scan')
const { Responses } = await document.send(new BatchGetCommand({ RequestItems: { [TableName]: {
  Keys: [{ pk: 'run', sk: '007' }, { pk: 'run', sk: 'none' }], ProjectionExpression: '#s', ExpressionAttributeNames: { '#s': 'sk' } } } }))
same(Responses[TableName], [{ sk: '007' }], 'a batch of reads')

// Transactions.
const take = (amount, ClientRequestToken) => document.send(new TransactWriteCommand({ ClientRequestToken, TransactItems: [
  { Put: { TableName, Item: { pk: 'log', sk: String(amount) } } },
  { Update: { TableName, Key: { pk: 'sum', sk: '1' }, UpdateExpression: 'ADD points :a', ConditionExpression: 'attribute_not_exists(points) OR points < :max',
    ExpressionAttributeValues: { ':a': amount, ':max': 100 } } },
] }))
await take(60, named('a').slice(0, 36))
await take(60, named('a').slice(0, 36))
await take(70)
const cancelled = await refused('TransactionCanceledException', '[None, ConditionalCheckFailed]', () => take(1))
holds(cancelled instanceof TransactionCanceledException, 'typed')
same(cancelled.CancellationReasons.map(reason => reason.Code), ['None', 'ConditionalCheckFailed'], 'reasons')
const read = await document.send(new TransactGetCommand({ TransactItems: [['sum', '1'], ['log', '1']].map(([pk, sk]) => ({ Get: { TableName, Key: { pk, sk } } })) }))
same(read.Responses.map(answer => answer.Item?.points), [130, undefined], 'all of it or none')

// The same table in another region, through the same endpoint.
const ireland = DynamoDBDocument.from(new DynamoDBClient({ region: 'eu-west-1' }))
await eventually(async () => (await ireland.get({ TableName, Key: { pk: 'sum', sk: '1' } })).Item?.points === 130, 'Ireland reads what Virginia wrote last')

await new DynamoDB({}).deleteTable({ TableName })
same((await waitUntilTableNotExists(wait, { TableName })).state, 'SUCCESS', 'the other waiter')
await refused('ResourceNotFoundException', 'Requested resource not found', () => document.send(new GetCommand({ TableName, Key: { pk: 'a', sk: 'b' } })))
done('@aws-sdk/client-dynamodb', '@aws-sdk/lib-dynamodb')
