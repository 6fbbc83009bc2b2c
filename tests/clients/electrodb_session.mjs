// ElectroDB: entities in one table, a service with collections, queries, conditions, pages, batches, transactions.

import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb'
import { createSchema, Entity, Service } from 'electrodb'
import { done, holds, named, refused, same } from './session.mjs'

const client = new DynamoDBClient({})
const table = named('electrodb')
const names = ['pk', 'sk', 'gsi1pk', 'gsi1sk']
await client.send(new CreateTableCommand({
  TableName: table,
  BillingMode: 'PAY_PER_REQUEST',
  AttributeDefinitions: names.map(AttributeName => ({ AttributeName, AttributeType: 'S' })),
  KeySchema: [{ AttributeName: 'pk', KeyType: 'HASH' }, { AttributeName: 'sk', KeyType: 'RANGE' }],
  GlobalSecondaryIndexes: [{
    IndexName: 'gsi1', Projection: { ProjectionType: 'ALL' },
    KeySchema: [{ AttributeName: 'gsi1pk', KeyType: 'HASH' }, { AttributeName: 'gsi1sk', KeyType: 'RANGE' }],
  }],
}))
same((await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName: table })).state, 'SUCCESS', 'a table')

const Employee = new Entity(createSchema({
  model: { entity: 'employee', version: '1', service: 'company' },
  attributes: {
    id: { type: 'string', required: true },
    office: { type: 'string', required: true },
    name: { type: 'string', required: true },
    team: { type: ['red', 'blue'], default: 'red' },
    salary: { type: 'number', validate: value => value === undefined || value >= 0 },
    skills: { type: 'set', items: 'string' },
    history: { type: 'list', items: { type: 'map', properties: { year: { type: 'number' }, role: { type: 'string' } } } },
    remote: { type: 'boolean' },
    version: { type: 'number', default: 1 },
  },
  indexes: {
    employee: { pk: { field: 'pk', composite: ['id'] }, sk: { field: 'sk', composite: [] } },
    office: { index: 'gsi1', collection: 'workplace', pk: { field: 'gsi1pk', composite: ['office'] }, sk: { field: 'gsi1sk', composite: ['team', 'name'] } },
  },
}), { client, table })
const Desk = new Entity(createSchema({
  model: { entity: 'desk', version: '1', service: 'company' },
  attributes: { office: { type: 'string' }, floor: { type: 'number', padding: { length: 3, char: '0' } }, desk: { type: 'string' }, owner: { type: 'string' } },
  indexes: {
    desk: { pk: { field: 'pk', composite: ['office'] }, sk: { field: 'sk', composite: ['floor', 'desk'] } },
    office: { index: 'gsi1', collection: 'workplace', pk: { field: 'gsi1pk', composite: ['office'] }, sk: { field: 'gsi1sk', composite: ['floor', 'desk'] } },
  },
}), { client, table })
const company = new Service({ Employee, Desk })

// One item: created once, read, changed under conditions.
const ada = { id: 'e1', office: 'london', name: 'ada', salary: 100, skills: ['maths', 'poetry'], history: [{ year: 1843, role: 'author' }], remote: false }
same((await Employee.create(ada).go()).data.team, 'red', 'a default')
same((await Employee.get({ id: 'e1' }).go()).data, { ...ada, team: 'red', version: 1 }, 'an entity comes back')
same((await Employee.get({ id: 'none' }).go()).data, null, 'none')
const twice = await refused('ElectroError', 'The conditional request failed', () => Employee.create(ada).go())
same(twice.cause.name, 'ConditionalCheckFailedException', 'the cause is the SDK\'s own')
await refused('ElectroValidationError', 'Invalid value provided', () => Employee.put({ ...ada, salary: -1 }).go())
const patched = await Employee.patch({ id: 'e1' }).set({ remote: true }).add({ salary: 50 }).delete({ skills: ['poetry'] })
  .append({ history: [{ year: 1844, role: 'analyst' }] }).subtract({ version: 2 })
  .where(({ salary, remote }, { lte, eq }) => `${lte(salary, 100)} AND ${eq(remote, false)}`).go({ response: 'all_new' })
same([patched.data.salary, [...patched.data.skills].sort(), patched.data.history.length, patched.data.version], [150, ['maths'], 2, -1], 'patched')
await refused('ElectroError', 'The conditional request failed', () => Employee.patch({ id: 'none' }).set({ remote: true }).go())
await refused('ElectroError', 'The conditional request failed', () =>
  Employee.delete({ id: 'e1' }).where(({ salary }, { gt }) => gt(salary, 1000)).go())
same((await Employee.upsert({ id: 'e2', office: 'london', name: 'bob', team: 'blue' }).go({ response: 'all_new' })).data.name, 'bob', 'upserted')
same((await Employee.update({ id: 'e2' }).data(({ salary, history }, { set, ifNotExists }) => { ifNotExists(salary, 7); set(history, []) }).go({ response: 'all_new' })).data.salary, 7, 'if_not_exists')

// Batches, queries by parts of keys, pages.
const desks = Array.from({ length: 60 }, (_, n) => ({ office: n < 50 ? 'london' : 'paris', floor: Math.floor(n / 10), desk: `d${n}`, owner: n % 7 ? 'none' : 'e1' }))
same((await Desk.put(desks).go({ concurrency: 2 })).unprocessed, [], 'three batches')
same((await Desk.get([{ office: 'london', floor: 1, desk: 'd11' }, { office: 'london', floor: 1, desk: 'none' }]).go()).data.map(desk => desk.desk), ['d11'], 'a batch of reads')
same((await Desk.query.desk({ office: 'london', floor: 2 }).go()).data.length, 10, 'by office and floor')
same((await Desk.query.desk({ office: 'london' }).between({ floor: 1 }, { floor: 3 }).go({ pages: 'all' })).data.length, 20, 'between, its end the start of floor 3')
same((await Desk.query.desk({ office: 'london' }).gte({ floor: 3 }).go({ order: 'desc', limit: 1 })).data[0].desk, 'd49', 'the last one')
same((await Desk.query.desk({ office: 'london' }).where(({ owner }, { eq }) => eq(owner, 'e1')).go({ pages: 'all' })).data.length, 8, 'filtered')
let cursor = null
const sizes = []
do {
  const page = await Desk.query.desk({ office: 'london' }).go({ limit: 20, cursor })
  sizes.push(page.data.length)
  cursor = page.cursor
} while (cursor !== null)
same(sizes, [20, 20, 10], 'pages by cursor')
same((await Desk.scan.go({ pages: 'all' })).data.length, 60, 'a scan sees one entity only')
same((await Employee.query.office({ office: 'london', team: 'blue' }).go()).data.map(found => found.id), ['e2'], 'the index')

// A collection: both entities by one query.
const { data } = await company.collections.workplace({ office: 'london' }).go({ pages: 'all' })
same([data.Employee.map(found => found.id).sort(), data.Desk.length], [['e1', 'e2'], 50], 'a collection')

// Transactions.
const swap = await company.transaction.write(({ Employee, Desk }) => [
  Employee.patch({ id: 'e1' }).set({ office: 'paris', team: 'red', name: 'ada' }).commit(),
  Desk.patch({ office: 'paris', floor: 5, desk: 'd50' }).set({ owner: 'e1' }).where(({ owner }, { eq }) => eq(owner, 'none')).commit(),
  Employee.check({ id: 'e2' }).where(({ team }, { eq }) => eq(team, 'blue')).commit(),
]).go({ token: named('e').slice(0, 36) })
same(swap.canceled, false, 'done')
const full = await company.transaction.write(({ Employee, Desk }) => [
  Employee.remove({ id: 'e2' }).commit(),
  Desk.create({ office: 'paris', floor: 5, desk: 'd50' }).commit({ response: 'all_old' }),
]).go()
same([full.canceled, full.data.map(answer => answer.code), full.data[1].item.owner], [true, ['None', 'ConditionalCheckFailed'], 'e1'], 'cancelled, with reasons')
const both = await company.transaction.get(({ Employee }) => [Employee.get({ id: 'e1' }).commit(), Employee.get({ id: 'e2' }).commit()]).go()
same(both.data.map(({ item }) => item.office), ['paris', 'london'], 'all of one, none of the other')
holds((await Employee.query.office({ office: 'paris' }).go()).data.length === 1, 'and the index follows')

await client.send(new DeleteTableCommand({ TableName: table }))
done('electrodb')
