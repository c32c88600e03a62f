// Sharp's side of benches/transform.rs: carries out orders, lines of JSON, until they end, and times itself.
//
// One thread, no cache: with UV_THREADPOOL_SIZE=1 set for it. A source is read before it is timed. Its argument is
// the directory that sharp is installed in.

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const BATCH_MS_MAX = 1000
const RUNS_MIN = 2

const sharp = createRequire(join(resolve(process.argv[2]), 'package.json'))('sharp')
sharp.cache(false)
sharp.concurrency(1)

const sources = new Map()

// The most resident memory this process has had.
function peakKib () {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1])
}

function read (path) {
  if (!sources.has(path)) sources.set(path, readFileSync(path))
  return sources.get(path)
}

// As a server of images would: every frame, upright, never enlarged.
function variant (source, { width, format, options }) {
  return sharp(source, { animated: format === 'webp', limitInputPixels: 1e9 })
    .autoOrient()
    .resize({ width, withoutEnlargement: true })
    .toFormat(format, options)
    .toBuffer()
}

async function carryOut (order) {
  const source = read(order.source)
  const begin = process.hrtime.bigint()
  const ns = []
  let last
  const late = () => Number(process.hrtime.bigint() - begin) / 1e6 >= BATCH_MS_MAX
  while (ns.length < order.runs && (ns.length < RUNS_MIN || !late())) {
    const start = process.hrtime.bigint()
    last = await variant(source, order)
    ns.push(Number(process.hrtime.bigint() - start))
  }
  const answer = { ns, peak_kib: peakKib() }
  if (order.output) writeFileSync(order.output, last)
  return answer
}

function say (line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}

const { sharp: version, vips, aom } = sharp.versions
say({ version: `sharp ${version} (libvips ${vips}, aom ${aom}), Node.js ${process.version}`, idle_kib: peakKib() })

for await (const line of createInterface({ input: process.stdin })) {
  say(await carryOut(JSON.parse(line)).catch(error => ({ error: error.message })))
}
