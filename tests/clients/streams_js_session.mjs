// DynamoDB Streams through client-dynamodb-streams: a stream turned on later, read, and turned off.

import { CreateTableCommand, DeleteTableCommand, DescribeTableCommand, DynamoDBClient, UpdateTableCommand, waitUntilTableExists } from '@aws-sdk/client-dynamodb'
import { DynamoDBStreams } from '@aws-sdk/client-dynamodb-streams'
import { DeleteCommand, DynamoDBDocumentClient, PutCommand } from '@aws-sdk/lib-dynamodb'
import { done, eventually, holds, named, refused, same } from './session.mjs'

const client = new DynamoDBClient({})
const document = DynamoDBDocumentClient.from(client)
const streams = new DynamoDBStreams({})
const TableName = named('streams-js')
await client.send(new CreateTableCommand({
  TableName, BillingMode: 'PAY_PER_REQUEST', AttributeDefinitions: [{ AttributeName: 'pk', AttributeType: 'S' }], KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }] }))
const ready = () => waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName })
same((await ready()).state, 'SUCCESS', 'a table')
same((await streams.listStreams({ TableName })).Streams, [], 'no stream')
await document.send(new PutCommand({ TableName, Item: { pk: 'before' } }))

await client.send(new UpdateTableCommand({ TableName, StreamSpecification: { StreamEnabled: true, StreamViewType: 'NEW_IMAGE' } }))
await ready()
const { Table } = await client.send(new DescribeTableCommand({ TableName }))
const StreamArn = Table.LatestStreamArn
same((await streams.listStreams({ TableName })).Streams.map(stream => stream.StreamArn), [StreamArn], 'a stream')
await document.send(new PutCommand({ TableName, Item: { pk: 'a', n: 1, tags: new Set(['x']) } }))
await document.send(new DeleteCommand({ TableName, Key: { pk: 'before' } }))

async function read() {
  const found = []
  for (const { ShardId } of (await streams.describeStream({ StreamArn })).StreamDescription.Shards) {
    const { ShardIterator } = await streams.getShardIterator({ StreamArn, ShardId, ShardIteratorType: 'TRIM_HORIZON' })
    found.push(...(await streams.getRecords({ ShardIterator })).Records)
  }
  return found
}
const records = await eventually(async () => { const found = await read(); return found.length === 2 && found }, 'two records, none from before')
const [put, gone] = ['INSERT', 'REMOVE'].map(name => records.find(record => record.eventName === name).dynamodb)
same([put.NewImage, put.OldImage], [{ pk: { S: 'a' }, n: { N: '1' }, tags: { SS: ['x'] } }, undefined], 'the new image')
same([gone.Keys, gone.NewImage, gone.OldImage], [{ pk: { S: 'before' } }, undefined, undefined], 'no image of what is gone')
holds(put.ApproximateCreationDateTime instanceof Date && Math.abs(Date.now() - put.ApproximateCreationDateTime) < 60_000, 'its time')

await client.send(new UpdateTableCommand({ TableName, StreamSpecification: { StreamEnabled: false } }))
await ready()
same((await eventually(async () => {
  const { StreamDescription } = await streams.describeStream({ StreamArn })
  return StreamDescription.StreamStatus === 'DISABLED' && StreamDescription
}, 'disabled')).StreamViewType, 'NEW_IMAGE', 'still described')
same((await read()).length, 2, 'and still read')
await refused('ResourceNotFoundException', '', () => streams.describeStream({ StreamArn: StreamArn.replace(TableName, `${TableName}-none`) }))

await client.send(new DeleteTableCommand({ TableName }))
done('@aws-sdk/client-dynamodb-streams')
