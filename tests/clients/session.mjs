// What the JavaScript sessions share: where the cluster is, names of this run, and checks that are counted.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

export const endpoint = process.env.AWS_ENDPOINT_URL
export const region = process.env.AWS_REGION

let checks = 0

/** A table name that no other session and no other run has. */
export const named = table => `${table}-${process.env.MERIDIAN_RUN}`

/** One check: the two are equal, deeply and strictly. */
export function same(found, expected, what) {
  assert.deepStrictEqual(found, expected, what)
  checks++
}

/** One check: it is so. */
export const holds = (truth, what) => same(Boolean(truth), true, what)

/** One check: the call fails with an error of that name, whose message contains `words`. Returns the error. */
export async function refused(name, words, call) {
  let found
  try {
    found = await call()
  } catch (error) {
    assert.equal(error.name, name, `${error}`)
    assert.ok(error.message.includes(words), `expected an error that says "${words}", found "${error.message}"`)
    checks++
    return error
  }
  assert.fail(`expected ${name}: ${words}, found the answer ${JSON.stringify(found)}`)
}

/** One check: `probe` answers something true before the deadline. Returns it. */
export async function eventually(probe, what, seconds = 20) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const found = await probe()
    if (found) {
      checks++
      return found
    }
    assert.ok(Date.now() < deadline, `${what}: not so within ${seconds} s`)
    await new Promise(wake => setTimeout(wake, 50))
  }
}

/** Everything that an async iterator gives. */
export async function all(iterator) {
  const found = []
  for await (const one of iterator) found.push(one)
  return found
}

const versionOf = name => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version

export const done = (...packages) =>
  console.log(`ok: ${packages.map(name => `${name} ${versionOf(name)}`).join(', ')}: ${checks} checks`)
