// Plays the suite's tests through an edge and says what passed.
//
// Each run has an origin (the suite's server), an edge and a client (the suite's) of its own. What a test asks and
// whether it passed is the suite's word alone; here verdicts are only counted and compared. Whatever is started is
// ended, by its process id, however this ends.

import { spawn } from 'node:child_process'
import { createWriteStream, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const START_DEADLINE_MS = 30_000
const RUN_DEADLINE_MS = 15 * 60_000
// Between being asked to end and being ended.
const END_DEADLINE_MS = 5_000
// Ports that were free when they were chosen and taken when they were needed.
const PORT_ATTEMPTS = 5

const EXIT_MISSED = 1
const EXIT_USAGE = 64
const EXIT_BROKEN = 70
const EXIT_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }

const CONFIG = 'conf/conformance.yaml'
const KINDS = ['required', 'optimal', 'check']
const PASSED = { required: 'pass', optimal: 'pass', check: 'yes' }
const TITLES = { required: 'required', optimal: 'optimal', check: 'checks yes' }

const [binary, suiteDirectory, outputDirectory, onlyTest] = process.argv.slice(2)
const suite = resolve(suiteDirectory)
const output = resolve(outputDirectory)

const running = new Set()
let interrupted = false

// ---- Processes ----

function start (command, args, options) {
  if (interrupted) throw new Error('told to stop')
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  child.ended = new Promise(resolve => {
    child.once('error', error => resolve(error.message))
    child.once('close', (code, signal) => resolve(signal ?? code))
  })
  running.add(child)
  child.ended.then(() => running.delete(child))
  return child
}

async function end (child) {
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), END_DEADLINE_MS)
  await child.ended
  clearTimeout(late)
}

function endAll () {
  return Promise.all([...running].map(end))
}

// The first line of its standard output that matches; nothing when it ends without one.
function lineOf (child, pattern) {
  return within(START_DEADLINE_MS, `${child.spawnfile} says that it listens`, new Promise(resolve => {
    createInterface({ input: child.stdout }).on('line', line => {
      const match = line.match(pattern)
      if (match) resolve(match[1])
    })
    child.ended.then(() => resolve(null))
  }))
}

async function within (milliseconds, what, promise) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain: ${what}`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function freePort () {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

// ---- One run ----

// What npm would hand the suite's scripts. A proxy of the environment would come between client and edge.
function suiteEnvironment (settings) {
  const environment = { ...process.env }
  for (const name of ['http_proxy', 'https_proxy', 'all_proxy']) {
    delete environment[name]
    delete environment[name.toUpperCase()]
  }
  for (const [name, value] of Object.entries(settings)) environment[`npm_config_${name}`] = value
  return { ...environment, npm_package_config_id: '' }
}

async function startOrigin () {
  for (let attempt = 1; attempt <= PORT_ATTEMPTS; attempt++) {
    const port = await freePort()
    const origin = start(process.execPath, ['test-engine/server/server.mjs'], {
      cwd: suite,
      env: suiteEnvironment({ protocol: 'http', port, pidfile: join(output, 'origin.pid') })
    })
    log(origin, 'origin.log')
    if (await lineOf(origin, /^(Listening) on /)) return { origin, port }
  }
  throw new Error(`the suite's server does not start: see ${join(output, 'origin.log')}`)
}

async function startEdge (originPort) {
  const edge = start(binary, [
    'serve', '--config', CONFIG, '--origin', `http://127.0.0.1:${originPort}`,
    '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'
  ])
  log(edge, 'edge.log')
  const address = await lineOf(edge, /^edge listening on (http:\S+)/)
  if (!address) throw new Error(`the edge does not start: see ${join(output, 'edge.log')}`)
  return { edge, address }
}

function log (child, name) {
  const file = createWriteStream(join(output, name))
  child.stdout.pipe(file, { end: false })
  child.stderr.pipe(file, { end: false })
  child.ended.then(() => file.end())
}

// The client's results by test: true, or the reason why not.
async function ask (address) {
  const client = start(process.execPath, ['--no-warnings', 'test-engine/cli.mjs'], {
    cwd: suite,
    env: suiteEnvironment({ base: address, id: '' })
  })
  const said = text(client.stdout)
  const complaints = text(client.stderr)
  const ended = await within(RUN_DEADLINE_MS, 'the suite ends', client.ended)
  if (ended !== 0) throw new Error(`the suite ended with ${ended}: ${await complaints}`)
  // Remarks may come before the results.
  return JSON.parse((await said).replace(/^[^]*?^(?=\{$)/m, ''))
}

async function text (stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

async function run () {
  const { origin, port } = await startOrigin()
  const { edge, address } = await startEdge(port)
  const results = await ask(address)
  const alive = running.has(edge) && running.has(origin)
  await endAll()
  if (!alive) throw new Error(`edge or origin ended before the suite did: see ${output}`)
  return results
}

// One test, with all that was sent and received, for a human.
async function show (test) {
  const { origin, port } = await startOrigin()
  const { address } = await startEdge(port)
  origin.stdout.pipe(process.stdout)
  const client = start(process.execPath, ['--no-warnings', 'test-engine/cli.mjs'], {
    cwd: suite,
    env: suiteEnvironment({ base: address, id: test }),
    stdio: ['ignore', 'inherit', 'inherit']
  })
  await within(RUN_DEADLINE_MS, 'the test ends', client.ended)
  await endAll()
}

// ---- Judging ----

async function readSuite () {
  const load = path => import(pathToFileURL(join(suite, path)))
  const { default: groups } = await load('tests/index.mjs')
  const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
  const names = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]))
  const all = groups.flatMap(group => group.tests)
  const tests = all.filter(test => !test.browser_only)
    .map(test => ({ id: test.id, kind: test.kind ?? 'required', needs: test.depends_on ?? [] }))
  const verdict = (id, results) => names.get(determineTestResult(groups, id, results))
  return { all, tests, verdict }
}

function judge ({ tests, verdict }, results) {
  const suits = id => ['pass', 'yes'].includes(verdict(id, results))
  return tests.map(({ id, kind, needs }) => {
    const said = verdict(id, results)
    const own = Array.isArray(results[id]) ? [results[id].join(': ')] : []
    const missing = needs.filter(id => !suits(id)).map(id => `needs ${id}`)
    const reason = [...missing, ...own].join('; ')
    return { id, kind, verdict: said, passed: said === PASSED[kind], reason }
  })
}

function count (judged, kind) {
  const ofKind = judged.filter(test => test.kind === kind)
  return { passed: ofKind.filter(test => test.passed).length, all: ofKind.length }
}

function table (runs) {
  const rows = runs.map((judged, index) => [`run ${index + 1}`, ...KINDS.map(kind => {
    const { passed, all } = count(judged, kind)
    return `${passed}/${all}`
  })])
  const lines = [['', ...KINDS.map(kind => TITLES[kind])], ...rows]
  return lines.map(cells => cells.map(cell => cell.padEnd(12)).join('').trimEnd()).join('\n')
}

// Every test of the kind that is red in some run, with the reason it had there first.
function reds (runs, kind) {
  return runs[0].flatMap(({ id, kind: own }, index) => {
    const red = runs.map((judged, run) => ({ run: run + 1, ...judged[index] })).filter(test => !test.passed)
    if (own !== kind || red.length === 0) return []
    const when = red.length < runs.length ? ` (run ${red.map(test => test.run).join(', ')} alone)` : ''
    return [`  ${id}: ${red[0].verdict}${when}\n      ${red[0].reason.replaceAll('\n', ' ') || 'without a reason'}`]
  })
}

function unsteady (runs) {
  return runs[0].flatMap(({ id }, index) => {
    const verdicts = runs.map(judged => judged[index].verdict)
    return new Set(verdicts).size > 1 ? [`  ${id}: ${verdicts.join(', ')}`] : []
  })
}

function missed (runs, goals) {
  return Object.entries(goals).flatMap(([kind, goal]) => runs.flatMap((judged, index) => {
    const { passed } = count(judged, kind)
    return passed < goal ? [`run ${index + 1}: ${passed} ${kind} tests passed, fewer than ${goal}`] : []
  }))
}

function section (title, lines) {
  if (lines.length > 0) console.log(`\n${title}\n${lines.join('\n')}`)
}

// ---- The whole ----

function wholeNumber (name, fallback) {
  const value = Number(process.env[name] ?? fallback)
  if (Number.isInteger(value) && value >= 0) return value
  console.error(`${name}: ${process.env[name]} is no whole number`)
  process.exit(EXIT_USAGE)
}

async function main () {
  const goals = { required: wholeNumber('REQUIRED', 155), optimal: wholeNumber('OPTIMAL', 95) }
  const runsWanted = Math.max(1, wholeNumber('RUNS', 3))
  const read = await readSuite()
  if (onlyTest !== undefined) {
    if (read.all.some(test => test.id === onlyTest)) return show(onlyTest)
    console.error(`${onlyTest} is no test of the suite`)
    process.exit(EXIT_USAGE)
  }
  console.log(`${binary}, ${read.tests.length} tests, ${runsWanted} runs`)
  const runs = []
  for (let number = 1; number <= runsWanted; number++) {
    const results = await run()
    writeFileSync(join(output, `run-${number}.json`), JSON.stringify(results, null, 2))
    runs.push(judge(read, results))
    console.log(`run ${number} of ${runsWanted} ended`)
  }
  console.log(`\n${table(runs)}`)
  section('Red required tests', reds(runs, 'required'))
  section('Red optimal tests', reds(runs, 'optimal'))
  const differing = unsteady(runs)
  section('Not the same in every run', differing)
  const short = missed(runs, goals)
  section('Goals missed', short)
  process.exitCode = differing.length + short.length > 0 ? EXIT_MISSED : 0
}

for (const [signal, code] of Object.entries(EXIT_SIGNAL)) {
  process.once(signal, () => {
    interrupted = true
    endAll().then(() => process.exit(code))
  })
}

try {
  await main()
} catch (error) {
  // After a signal everything fails, and the exit code is the signal's.
  if (!interrupted) {
    console.error(error.message)
    await endAll()
    process.exitCode = EXIT_BROKEN
  }
}
