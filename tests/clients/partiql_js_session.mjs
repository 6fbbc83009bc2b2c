// PartiQL through lib-dynamodb's DocumentClient: plain JavaScript values as parameters and in answers.

import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb'
import { BatchExecuteStatementCommand, DynamoDBDocumentClient, ExecuteStatementCommand, ExecuteTransactionCommand } from '@aws-sdk/lib-dynamodb'
import { done, named, refused, same } from './session.mjs'

const client = new DynamoDBClient({})
const document = DynamoDBDocumentClient.from(client)
const TableName = named('partiql-js')
await client.send(new CreateTableCommand({
  TableName, BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }, { AttributeName: 'n', AttributeType: 'N' }],
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'n', KeyType: 'RANGE' }],
}))
same((await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName })).state, 'SUCCESS', 'a table')
const run = (Statement, Parameters, more) => document.send(new ExecuteStatementCommand({ Statement, Parameters, ...more }))
const insert = `INSERT INTO "${TableName}" VALUE {'pk': ?, 'n': ?, 'tags': ?, 'deep': ?}`
const deep = { steps: [1, 'two', { three: null }], lit: true }

await run(insert, ['a', 1, new Set(['x', 'y']), deep])
same((await run(`SELECT * FROM "${TableName}" WHERE pk = ? AND n = ?`, ['a', 1])).Items, [{ pk: 'a', n: 1, tags: new Set(['x', 'y']), deep }], 'a document comes back')
await refused('DuplicateItemException', 'Duplicate primary key exists in table', () => run(insert, ['a', 1, 'other', {}]))
const batch = await document.send(new BatchExecuteStatementCommand({
  Statements: Array.from({ length: 10 }, (_, n) => ({ Statement: insert, Parameters: ['b', n, `tag ${n}`, {}] })) }))
same(batch.Responses.filter(answer => answer.Error), [], 'a batch, whole')
const sizes = []
let NextToken
do {
  const page = await run(`SELECT n FROM "${TableName}" WHERE pk = 'b'`, undefined, { Limit: 4, NextToken })
  sizes.push(page.Items.length)
  NextToken = page.NextToken
} while (NextToken)
same(sizes, [4, 4, 2], 'pages')
const update = await run(`UPDATE "${TableName}" SET deep.lit = ? WHERE pk = 'a' AND n = 1 RETURNING MODIFIED NEW *`, [false])
same(update.Items, [{ deep: { lit: false } }], 'MODIFIED NEW')
const transaction = tag => document.send(new ExecuteTransactionCommand({ TransactStatements: [
  { Statement: `DELETE FROM "${TableName}" WHERE pk = 'b' AND n = 0`, Parameters: undefined },
  { Statement: `UPDATE "${TableName}" SET tags = ? WHERE pk = 'b' AND n = 1 AND tags = ?`, Parameters: ['new', tag] }] }))
const cancelled = await refused('TransactionCanceledException', '[None, ConditionalCheckFailed]', () => transaction('other'))
same(cancelled.CancellationReasons.map(reason => reason.Code), ['None', 'ConditionalCheckFailed'], 'reasons')
await transaction('tag 1')
same((await run(`SELECT n, tags FROM "${TableName}" WHERE pk = 'b' AND n < 2`)).Items, [{ n: 1, tags: 'new' }], 'a transaction, whole')

await client.send(new DeleteTableCommand({ TableName }))
done('@aws-sdk/lib-dynamodb')
