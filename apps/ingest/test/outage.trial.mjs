/*
 * The storage role away for some minutes, after a build:  node apps/ingest/test/outage.trial.mjs [minutes] [messages a second]
 * Messages with 500 counters go to an ingest process all the time. The only storage process is killed, stays away that long, and comes back; in the middle of it the ingest process is killed with
 * SIGKILL and started again; its wall clock goes an hour forth and back every few seconds all the while. Whatever was not answered is sent again under its key. In the end the sum in the table has to be what was acknowledged; prints what waited on the disk, and exits 1 if it is not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { startTrialCluster } from './trial-cluster.mjs';

const [minutes = 10, perSecond = 20] = process.argv.slice(2).map(Number);
const seriesCount = 500;
const withStorageMs = 15_000;
const flushIntervalMs = 5_000;
const clockStepMs = 7_000;

/** RawMessageV2: every counter one more. */
const message = (() => {
  const writer = new BinaryWriter();
  for (let series = 0; series < seriesCount; series++) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(`outage.counter_${series}`);
    writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork();
    writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.Varint).int64(1).join();
    writer.join().join().join();
  }
  return writer.finish();
})();

const cluster = await startTrialCluster();
/** For a process: its wall clock steps, and nothing else does. */
const steppingClock = encodeURIComponent(`const now = Date.now; Date.now = () => now() + (Math.floor(performance.now() / ${clockStepMs}) % 2) * 3_600_000;`);
const ingestEnv = { NODE_OPTIONS: `--import=data:text/javascript,${steppingClock}`, BINNACLE_INGEST_STATSD: 'false', BINNACLE_INGEST_FLUSH_INTERVAL_MS: String(flushIntervalMs) };
let ingest = await cluster.start('ingest', ingestEnv);
let sent = 0;
let acknowledged = 0;
let tries = 0;
let running = true;

/** Until it is acknowledged: no message is given up. */
async function send() {
  const key = `message-${sent++}`;
  for (;;) {
    tries += 1;
    const answer = await ingest.fetch('/v2/raw', { method: 'POST', body: message, headers: { 'idempotency-key': key }, signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
    if (answer?.status === 202) return void (acknowledged += 1);
    await sleep(200);
  }
}

async function load() {
  const under = new Set();
  while (running) {
    const one = send().finally(() => under.delete(one));
    under.add(one);
    await sleep(1000 / perSecond);
  }
  await Promise.all(under);
}

async function report(what) {
  const deep = await (await ingest.fetch('/healthcheck?dependencies=true')).json().catch(() => ({}));
  const told = deep.failed?.map((each) => (typeof each === 'string' ? each : JSON.stringify(each))).find((each) => each.includes('ingest')) ?? 'nothing is wrong';
  console.log(`${what}: ${acknowledged} acknowledged, ${(await ingest.metric('binnacle_ingest_spool_bytes')) / 1e6} MB wait, ${JSON.stringify(ingest.memoryMegabytes())} MB; ${told.slice(0, 240)}`);
}

let failed = true;
try {
  const loading = load();
  await sleep(withStorageMs);
  await report('with storage');
  await cluster.nodes.get('storage').end('SIGKILL');
  const awayMs = minutes * 60_000;
  const awayFromMs = performance.now();
  for (let step = 1; step <= 10; step++) {
    await sleep(Math.max(0, awayFromMs + (awayMs * step) / 10 - performance.now()));
    await report(`storage away for ${((awayMs * step) / 600_000).toFixed(1)} minutes`);
    if (step !== 5) continue;
    await ingest.end('SIGKILL');
    ingest = await cluster.start('ingest', ingestEnv);
    await report('after kill -9 of ingest');
  }
  await cluster.start('storage');
  const backMs = performance.now();
  await sleep(withStorageMs);
  running = false;
  await loading;
  // The last interval has to end, and what waits has to arrive.
  await sleep(flushIntervalMs * 2);
  while ((await ingest.metric('binnacle_ingest_spool_bytes')) > 0) await sleep(250);
  await report(`all is written ${((performance.now() - backMs) / 1000).toFixed(1)} s after storage came back`);
  const { rows } = await cluster.sql("SELECT sum(value), count(DISTINCT name), min(sum_of_one), max(sum_of_one), max(timestamp) - min(timestamp) > 3000000 FROM (SELECT name, timestamp, value, sum(value) OVER (PARTITION BY name) AS sum_of_one FROM metrics WHERE kind = 'counter')");
  failed = JSON.stringify(rows) !== JSON.stringify([[acknowledged * seriesCount, seriesCount, acknowledged, acknowledged, true]]);
  console.log(`${acknowledged} messages acknowledged in ${tries} tries; the table says ${JSON.stringify(rows[0])}: ${failed ? 'WRONG' : 'each counted once'}`);
} finally {
  running = false;
  await cluster.stop();
}
process.exit(failed ? 1 : 0);
