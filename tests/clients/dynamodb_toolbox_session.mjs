// DynamoDB-Toolbox 2: table, entities, Get/Put/Update/Delete, Query, Scan, batches, transactions.

import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb'
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb'
import {
  $add, $append, $delete, $get, $remove, $set, $subtract, BatchDeleteRequest, BatchGetCommand, BatchGetRequest, BatchPutRequest, BatchWriteCommand, boolean,
  ConditionCheck, DeleteItemCommand, DeletePartitionCommand, Entity, executeBatchGet, executeBatchWrite, executeTransactGet,
  executeTransactWrite, GetItemCommand, GetTransaction, item, list, map, number, PutItemCommand, PutTransaction, QueryCommand,
  ScanCommand, set, string, Table, UpdateItemCommand, UpdateTransaction,
} from 'dynamodb-toolbox'
import { done, named, refused, same } from './session.mjs'

const client = new DynamoDBClient({})
const TableName = named('toolbox')
await client.send(new CreateTableCommand({
  TableName,
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: [['pk', 'S'], ['sk', 'S'], ['type', 'S'], ['level', 'N']].map(([AttributeName, AttributeType]) => ({ AttributeName, AttributeType })),
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  GlobalSecondaryIndexes: [{
    IndexName: 'levels', Projection: { ProjectionType: 'ALL' },
    KeySchema: [{ AttributeName: 'type', KeyType: 'HASH' }, { AttributeName: 'level', KeyType: 'RANGE' }],
  }],
}))
same((await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName })).state, 'SUCCESS', 'a table')

const table = new Table({
  name: TableName,
  partitionKey: { name: 'pk', type: 'string' },
  sortKey: { name: 'sk', type: 'string' },
  indexes: { levels: { type: 'global', partitionKey: { name: 'type', type: 'string' }, sortKey: { name: 'level', type: 'number' } } },
  documentClient: DynamoDBDocumentClient.from(client),
})
const Pokemon = new Entity({
  name: 'POKEMON',
  table,
  schema: item({
    trainer: string().key().savedAs('pk').transform({ encode: name => `T#${name}`, decode: key => key.slice(2) }),
    name: string().key().savedAs('sk'),
    type: string().enum('fire', 'water', 'grass'),
    level: number().default(1),
    caught: boolean().optional(),
    moves: set(string()).optional(),
    log: list(string()).optional(),
    stats: map({ hp: number(), speed: number().optional() }).optional(),
  }),
})
const Badge = new Entity({
  name: 'BADGE',
  table,
  schema: item({ trainer: string().key().savedAs('pk').transform({ encode: name => `T#${name}`, decode: key => key.slice(2) }), badge: string().key().savedAs('sk'), points: number() }),
})
const key = { trainer: 'ash', name: 'charizard' }
const without = ({ created, modified, entity, ...rest }) => rest

// One item.
const charizard = { ...key, type: 'fire', level: 36, caught: true, moves: new Set(['fly', 'ember']), log: ['found'], stats: { hp: 78, speed: 100 } }
await Pokemon.build(PutItemCommand).item(charizard).send()
const { Item } = await Pokemon.build(GetItemCommand).key(key).options({ consistent: true }).send()
same(without(Item), charizard, 'an entity comes back')
same(Item.created, Item.modified, 'its times')
same((await Pokemon.build(GetItemCommand).key({ ...key, name: 'none' }).send()).Item, undefined, 'none')
same((await Pokemon.build(GetItemCommand).key(key).options({ attributes: ['stats.hp', 'level'] }).send()).Item, { level: 36, stats: { hp: 78 } }, 'a projection')
await refused('ConditionalCheckFailedException', 'The conditional request failed', () =>
  Pokemon.build(PutItemCommand).item(charizard).options({ condition: { attr: 'name', exists: false } }).send())

// Updates.
const { Attributes } = await Pokemon.build(UpdateItemCommand).item({
  ...key, level: $add(2), moves: $delete(new Set(['fly'])), log: $append(['trained']), stats: { hp: $subtract($get('stats.hp'), 8), speed: $get('level') }, caught: $remove(),
}).options({ returnValues: 'ALL_NEW', condition: { and: [{ attr: 'level', lt: 40 }, { attr: 'moves', contains: 'ember' }, { attr: 'stats.hp', between: [70, 80] }] } }).send()
same(without(Attributes), { ...key, type: 'fire', level: 38, moves: new Set(['ember']), log: ['found', 'trained'], stats: { hp: 70, speed: 36 } }, 'updated')
const stale = await refused('ConditionalCheckFailedException', 'The conditional request failed', () =>
  Pokemon.build(UpdateItemCommand).item({ ...key, stats: $set({ hp: 1 }) }).options({ condition: { attr: 'level', gt: 50 }, returnValuesOnConditionFalse: 'ALL_OLD' }).send())
same(stale.Item.level.N ?? stale.Item.level, '38', 'the item that stood in the way')

// Batches, queries, scans.
const many = Array.from({ length: 24 }, (_, n) => Pokemon.build(BatchPutRequest).item({ trainer: 'misty', name: `fish ${String(n).padStart(2, '0')}`, type: 'water', level: n }))
const badge = Badge.build(BatchPutRequest).item({ trainer: 'misty', badge: 'cascade', points: 9 })
same((await executeBatchWrite(table.build(BatchWriteCommand).requests(...many, badge))).UnprocessedItems ?? {}, {}, 'a batch, whole')
const { Responses } = await executeBatchGet(table.build(BatchGetCommand).requests(
  Pokemon.build(BatchGetRequest).key({ trainer: 'misty', name: 'fish 03' }), Badge.build(BatchGetRequest).key({ trainer: 'misty', badge: 'cascade' })))
same(Responses[0].map(found => found.level ?? found.points), [3, 9], 'a batch of reads, in order')
const fish = table.build(QueryCommand).query({ partition: 'T#misty', range: { beginsWith: 'fish' } }).entities(Pokemon)
same((await fish.options({ reverse: true, limit: 2 }).send()).Items.map(found => found.name), ['fish 23', 'fish 22'], 'backwards')
const filtered = await fish.options({ filters: { POKEMON: { attr: 'level', gte: 20 } } }).send()
same([filtered.Count, filtered.ScannedCount], [4, 24], 'filtered')
const first = await fish.options({ limit: 20 }).send()
same((await fish.options({ exclusiveStartKey: first.LastEvaluatedKey }).send()).Items.length, 4, 'the second page')
same((await fish.options({ limit: 5, maxPages: Infinity }).send()).Items.length, 24, 'all pages')
const levels = table.build(QueryCommand).entities(Pokemon).query({ index: 'levels', partition: 'water', range: { between: [10, 12] } })
same((await levels.send()).Items.map(found => found.level), [10, 11, 12], 'the index')
same((await table.build(QueryCommand).query({ partition: 'T#misty' }).entities(Pokemon, Badge).send()).Items.length, 25, 'two entities by one query')
same((await table.build(ScanCommand).entities(Badge).send()).Items.map(found => found.points), [9], 'a scan of one entity')
same((await table.build(ScanCommand).options({ select: 'COUNT' }).send()).Count, 26, 'a counted scan')

// Transactions.
const pay = points => executeTransactWrite(
  { clientRequestToken: named(`t${points}`).slice(0, 36) },
  Badge.build(UpdateTransaction).item({ trainer: 'misty', badge: 'cascade', points: $subtract($get('points'), points) }).options({ condition: { attr: 'points', gte: points } }),
  Pokemon.build(PutTransaction).item({ trainer: 'ash', name: 'starmie', type: 'water', level: points }),
  Pokemon.build(ConditionCheck).key(key).condition({ attr: 'level', eq: 38 }))
await pay(5)
const cancelled = await refused('TransactionCanceledException', '[ConditionalCheckFailed, None, None]', () => pay(6))
same(cancelled.CancellationReasons.map(reason => reason.Code), ['ConditionalCheckFailed', 'None', 'None'], 'reasons')
const read = await executeTransactGet(Badge.build(GetTransaction).key({ trainer: 'misty', badge: 'cascade' }), Pokemon.build(GetTransaction).key({ trainer: 'ash', name: 'starmie' }))
same([read.Responses[0].Item.points, read.Responses[1].Item.level], [4, 5], 'all of one, none of the other')

// Deletes.
same((await Pokemon.build(DeleteItemCommand).key(key).options({ returnValues: 'ALL_OLD' }).send()).Attributes.level, 38, 'ALL_OLD')
await executeBatchWrite(table.build(BatchWriteCommand).requests(Badge.build(BatchDeleteRequest).key({ trainer: 'misty', badge: 'cascade' })))
await table.build(DeletePartitionCommand).entities(Pokemon).query({ partition: 'T#misty' }).send()
same((await table.build(ScanCommand).options({ select: 'COUNT' }).send()).Count, 1, 'a partition deleted')

await client.send(new DeleteTableCommand({ TableName }))
done('dynamodb-toolbox')
