// Dynamoose: models and the tables it makes of them, schemas, conditions, queries, scans, batches, transactions.

import dynamoose from 'dynamoose'
import { done, holds, named, refused, same } from './session.mjs'

dynamoose.aws.ddb.set(new dynamoose.aws.ddb.DynamoDB({}))
const people = named('dynamoose-people')
const orders = named('dynamoose-orders')

const Person = dynamoose.model(people, new dynamoose.Schema({
  id: { type: String, hashKey: true },
  name: { type: String, required: true },
  age: Number,
  born: Date,
  tags: { type: Set, schema: [String] },
  address: { type: Object, schema: { city: String, zip: { type: String, default: '0000' } } },
  notes: { type: Array, schema: [String] },
  photo: Buffer,
}, { timestamps: true }))
const Order = dynamoose.model(orders, new dynamoose.Schema({
  person: { type: String, hashKey: true },
  number: { type: Number, rangeKey: true },
  state: { type: String, enum: ['open', 'paid', 'sent'], default: 'open', index: { name: 'by-state', type: 'global', rangeKey: 'number' } },
  weight: { type: Number, index: { name: 'by-weight', type: 'local' } },
}))

// Tables, made from the models.
const waitForActive = { enabled: true, check: { timeout: 20_000, frequency: 200 } }
const tables = [
  new dynamoose.Table(people, [Person], { create: true, waitForActive, initialize: false, throughput: 'ON_DEMAND', tags: { team: 'people' } }),
  new dynamoose.Table(orders, [Order], { create: true, waitForActive, initialize: false, throughput: { read: 5, write: 6 } }),
]
for (const table of tables) await table.initialize()
const client = dynamoose.aws.ddb()
const described = await Promise.all([people, orders].map(async TableName => (await client.describeTable({ TableName })).Table))
same(described.map(table => table.TableStatus), ['ACTIVE', 'ACTIVE'], 'status')
same(described[0].BillingModeSummary.BillingMode, 'PAY_PER_REQUEST', 'on demand')
same([described[1].ProvisionedThroughput.ReadCapacityUnits, described[1].ProvisionedThroughput.WriteCapacityUnits], [5, 6], 'provisioned')
same([described[1].GlobalSecondaryIndexes[0].IndexName, described[1].LocalSecondaryIndexes[0].IndexName], ['by-state', 'by-weight'], 'indexes')
same((await client.listTagsOfResource({ ResourceArn: described[0].TableArn })).Tags, [{ Key: 'team', Value: 'people' }], 'tags')

// Documents and their schemas.
const born = new Date('1815-12-10T00:00:00.000Z')
await Person.create({ id: 'ada', name: 'Ada', age: 36, born, tags: new Set(['maths', 'poetry']), address: { city: 'London' }, notes: ['a', 'b'], photo: Buffer.from([0, 1, 255]) })
const ada = await Person.get('ada', { consistent: true })
same([ada.name, ada.age, ada.born.getTime(), ada.address.city, ada.address.zip, [...ada.notes]], ['Ada', 36, born.getTime(), 'London', '0000', ['a', 'b']], 'a document')
same([[...ada.tags].sort(), [...ada.photo]], [['maths', 'poetry'], [0, 1, 255]], 'set and bytes')
holds(ada.createdAt instanceof Date && Math.abs(Date.now() - ada.createdAt) < 60_000, 'timestamps')
same(await Person.get('none'), undefined, 'none')
await refused('ValidationError', 'name is a required property', () => Person.create({ id: 'x' }))
await refused('ConditionalCheckFailedException', 'The conditional request failed', () => Person.create({ id: 'ada', name: 'other' }))

// Updates and conditions.
const older = await Person.update({ id: 'ada' }, { $SET: { name: 'Ada L.' }, $ADD: { age: 1 }, $REMOVE: ['photo'], $DELETE: { tags: ['poetry'] } },
  { condition: new dynamoose.Condition().filter('age').lt(40) })
same([older.name, older.age, older.photo, [...older.tags]], ['Ada L.', 37, undefined, ['maths']], 'SET, ADD, REMOVE, DELETE')
await refused('ConditionalCheckFailedException', 'The conditional request failed', () =>
  Person.update({ id: 'ada' }, { age: 1 }, { condition: new dynamoose.Condition().filter('age').gt(40) }))
ada.age = 50
await ada.save()
const saved = await Person.get('ada')
same([saved.name, saved.age, saved.createdAt.getTime()], ['Ada', 50, ada.createdAt.getTime()], 'saved again, whole')
await refused('ConditionalCheckFailedException', 'The conditional request failed', () =>
  Person.delete('ada', { condition: new dynamoose.Condition('name').eq('Bob') }))

// Batches, queries, scans.
for (const person of ['ada', 'bob']) {
  const answer = await Order.batchPut(Array.from({ length: 20 }, (_, n) => ({ person, number: n, state: ['open', 'paid', 'sent'][n % 3], weight: 100 - n })))
  same(answer.unprocessedItems, [], 'a batch, whole')
}
same((await Order.batchGet([{ person: 'ada', number: 3 }, { person: 'ada', number: 99 }, { person: 'bob', number: 4 }])).map(order => `${order.person} ${order.number}`).sort(),
  ['ada 3', 'bob 4'], 'a batch of reads')
same((await Order.query('person').eq('ada').where('number').between(5, 8).sort('descending').exec()).map(order => order.number), [8, 7, 6, 5], 'between, backwards')
const filtered = await Order.query('person').eq('ada').filter('state').eq('paid').attributes(['number']).exec()
same([filtered.count, filtered[0].toJSON()], [7, { number: 1 }], 'filtered, one attribute')
same((await Order.query('state').eq('sent').where('number').lt(6).using('by-state').exec()).map(order => order.number).sort(), [2, 2, 5, 5], 'the global index')
same((await Order.query('person').eq('bob').where('weight').le(82).using('by-weight').exec()).map(order => order.weight), [81, 82], 'the local index')
const page = await Order.query('person').eq('ada').limit(15).exec()
same([page.length, page.lastKey], [15, { person: 'ada', number: 14 }], 'a page')
same((await Order.query('person').eq('ada').startAt(page.lastKey).exec()).map(order => order.number), [15, 16, 17, 18, 19], 'the next one')
same((await Order.scan('number').ge(18).or().where('state').not().exists().count().exec()).count, 4, 'a counted scan')
same((await Order.scan().limit(7).all().exec()).length, 40, 'a scan, page by page')
same((await Order.scan().parallel(4).exec()).length, 40, 'a parallel scan')

// Transactions.
await dynamoose.transaction([
  Order.transaction.update({ person: 'ada', number: 0 }, { state: 'paid' }),
  Order.transaction.create({ person: 'eve', number: 1 }),
  Order.transaction.delete({ person: 'bob', number: 0 }),
  Person.transaction.condition('ada', new dynamoose.Condition('name').eq('Ada')),
])
const [paid, eve, gone] = await Promise.all([['ada', 0], ['eve', 1], ['bob', 0]].map(([person, number]) => Order.get({ person, number })))
same([paid.state, eve.state, gone], ['paid', 'open', undefined], 'all of it')
await refused('TransactionCanceledException', '[None, ConditionalCheckFailed]', () => dynamoose.transaction([
  Order.transaction.delete({ person: 'eve', number: 1 }),
  Order.transaction.create({ person: 'ada', number: 0 }),
]))
same((await dynamoose.transaction([Order.transaction.get({ person: 'eve', number: 1 }), Person.transaction.get('ada')])).length, 2, 'or none of it')

for (const TableName of [people, orders]) await client.deleteTable({ TableName })
done('dynamoose')
