// dynamodb-admin: its own server against the cluster, asked over its HTTP interface as its pages ask it.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { done, endpoint, eventually, holds, named, same } from './session.mjs'

const program = fileURLToPath(new URL('node_modules/dynamodb-admin/dist/dynamodb-admin.js', import.meta.url))
const admin = spawn(process.execPath, [program, '--host', '127.0.0.1', '--port', '0', '--dynamo-endpoint', endpoint], { stdio: ['ignore', 'pipe', 'inherit'] })
process.on('exit', () => admin.kill())
const base = await new Promise((found, lost) => {
  let said = ''
  admin.stdout.on('data', data => {
    said += data
    const line = /listening on (http:\S+)/.exec(said)
    if (line) found(line[1])
  })
  admin.on('exit', code => lost(new Error(`dynamodb-admin ended with ${code}: ${said}`)))
  setTimeout(() => lost(new Error(`dynamodb-admin was not ready within 20 s: ${said}`)), 20_000).unref()
})

async function ask(method, path, body) {
  const answer = await fetch(base + path, { method, body: body && JSON.stringify(body), headers: body && { 'content-type': 'application/json' } })
  const text = await answer.text()
  return { status: answer.status, text, json: () => JSON.parse(text) }
}
const table = named('admin')
const items = `/tables/${table}/items`

const definition = {
  TableDefinition: { TableName: table, HashAttributeName: 'pk', HashAttributeType: 'S', RangeAttributeName: 'n', RangeAttributeType: 'N', ReadCapacityUnits: 3, WriteCapacityUnits: 4 },
  SecondaryIndexes: [{ IndexName: 'colours', IndexType: 'global', HashAttributeName: 'colour', HashAttributeType: 'S', RangeAttributeName: 'n', RangeAttributeType: 'N', ReadCapacityUnits: 3, WriteCapacityUnits: 3 }],
}
const created = await ask('POST', '/create-table', definition)
same([created.status, created.text], [204, ''], 'create')
const again = await ask('POST', '/create-table', definition)
same([again.status, again.json().message.includes('Table already exists')], [500, true], 'twice')
// The page's own form sends capacities as the text that was typed, which DynamoDB refuses in these words.
const typed = await ask('POST', '/create-table', { TableDefinition: { ...definition.TableDefinition, TableName: `${table}-form`, ReadCapacityUnits: '3' } })
same([typed.status, typed.json().message], [500, 'STRING_VALUE cannot be converted to Long'], 'a capacity as text')
const described = async () => (await ask('GET', '/api/tables')).json().find(one => one.TableName === table)
const found = await eventually(async () => { const one = await described(); return one.TableStatus === 'ACTIVE' && one }, 'active')
same([found.ProvisionedThroughput.WriteCapacityUnits, found.GlobalSecondaryIndexes[0].IndexName], [4, 'colours'], 'list and describe')
holds((await ask('GET', '/')).text.includes(table), 'the first page')

// Items.
for (let n = 0; n < 30; n++) {
  const put = await ask('PUT', `/tables/${table}/add-item`, { pk: 'a b', n, colour: n % 2 ? 'red' : 'blue', deep: { list: [1, null, true] } })
  if (put.status !== 200 || put.json().n !== n) throw new Error(`put ${n}: ${put.status} ${put.text}`)
}
const view = await ask('GET', `${items}/a%20b,7`)
same([view.status, view.text.includes('red')], [200, true], 'view')
same((await ask('GET', `${items}/a%20b,77`)).status, 404, 'none')
same((await ask('PUT', `${items}/a%20b,7`, { pk: 'a b', n: 7, colour: 'green' })).json(), { pk: 'a b', n: 7, colour: 'green' }, 'change')
holds((await ask('PUT', `/tables/${table}/add-item`, { pk: 1, n: 1 })).json().message.includes('Type mismatch for key pk'), 'a key of the wrong type')

// The table's page: scan by pages, and query, of the table and of the index.
const page = (await ask('GET', `${items}?pageSize=25`)).json()
same([page.Items.length, page.Items[0].__key, page.uniqueKeys.slice(0, 2)], [25, { pk: 'a b', n: 0 }, ['pk', 'n']], 'the first page of items')
const next = (await ask('GET', `${items}?pageSize=25&startKey=${page.nextKey}&pageNum=2`)).json()
same([next.Items.map(item => item.n), next.nextKey], [[25, 26, 27, 28, 29], null], 'the second')
const query = async (selection, filters) => (await ask('GET', `${items}?operationType=query&queryableSelection=${selection}&filters=${encodeURIComponent(JSON.stringify(filters))}`)).json().Items
same((await query('table', { pk: { type: 'S', operator: '=', value: 'a b' }, n: { type: 'N', operator: '>=', value: '27' } })).map(item => item.n), [27, 28, 29], 'a query')
same((await query('colours', { colour: { type: 'S', operator: '=', value: 'green' } })).map(item => item.n), [7], 'the index')
const scan = (await ask('GET', `${items}?filters=${encodeURIComponent(JSON.stringify({ colour: { type: 'S', operator: 'begins_with', value: 'bl' } }))}`)).json()
same(scan.Items.length, 15, 'a filtered scan')
for (const part of ['', '/meta', '/ttl', '/get', '/add-item']) same((await ask('GET', `/tables/${table}${part}`)).status, 200, `page ${part}`)

// Deletes.
same((await ask('DELETE', `${items}/a%20b,7`)).status, 204, 'delete')
same((await ask('GET', `${items}/a%20b,7`)).status, 404, 'deleted')
same((await ask('DELETE', `/tables/${table}/all`)).status, 200, 'purge')
same((await ask('GET', items)).json().Items, [], 'purged')
same((await ask('DELETE', `/tables/${table}`)).status, 204, 'delete the table')
await eventually(async () => await described() === undefined, 'and it is gone')

admin.removeAllListeners('exit')
admin.kill()
done('dynamodb-admin')
