/*
 * A day of metrics, asked for by SQL, after a build:  node apps/ingest/test/day.trial.mjs [series] [interval in seconds] [hours]
 * An ingest node in this process, whose wall clock jumps from flush to flush, takes a message with every series for each flush; its rows go by its spool to a storage node, which keeps them in a
 * remote store that is a folder. Then SQL through the gateway. Prints how long each took, bytes on the disk and pauses of the storage node's event loop; exits 1 when a sum is wrong.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { IngestModule } from '../dist/ingest.module.js';
import { Ingest } from '../dist/ingest.js';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode } from '@binnacle/node-kit/run-node';
import { metricIn, secret, startTrialCluster } from './trial-cluster.mjs';

const [seriesCount = 10_000, intervalS = 60, hours = 24] = process.argv.slice(2).map(Number);
const namesMax = 100;
const flushes = Math.round((hours * 3600) / intervalS);
/** Flushes that may wait for storage, so that the spool never has to let one go. */
const spoolBytesMax = 128 * 2 ** 20;
const dayMs = Date.UTC(2026, 0, 1);

const names = Math.min(namesMax, seriesCount);
const nameOf = (series) => `shop.requests_${series % names}`;
const sourceOf = (series) => `web-${Math.floor(series / names)}`;
/** Whole numbers, so that sums are exact; no two series are alike. */
const valueOf = (series, flush) => ((series * 7 + flush * 13) % 1_000) + series;

/** RawMessageV2 with a gauge for every series. */
function message(flush) {
  const writer = new BinaryWriter();
  for (let name = 0; name < names; name++) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(nameOf(name));
    writer.tag(2, WireType.LengthDelimited).fork();
    for (let series = name; series < seriesCount; series += names) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(sourceOf(series));
      writer.tag(2, WireType.LengthDelimited).fork();
      for (const tag of ['env:prod', 'shop:north']) writer.tag(1, WireType.LengthDelimited).string(tag);
      writer.tag(2, WireType.LengthDelimited).string(sourceOf(series));
      writer.tag(3, WireType.Bit64).double(valueOf(series, flush));
      writer.join().join();
    }
    writer.join().join();
  }
  return writer.finish();
}

const cluster = await startTrialCluster();
const storage = cluster.nodes.get('storage');
const pausesMs = [];
const watching = setInterval(async () => {
  const text = await (await storage.fetch('/metrics').catch(() => undefined))?.text();
  const max = Number(/^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(text ?? '')?.[1]);
  if (max > 0) pausesMs.push(max * 1000);
}, 5_000);
const seconds = (sinceMs) => Number(((performance.now() - sinceMs) / 1000).toFixed(2));

const config = new NodeConfig();
config.dataDir = `${cluster.folder}/ingest`;
Object.assign(config.node, { id: 'ingest-0', port: 0, clusterSecret: secret });
Object.assign(config.redis, { url: cluster.redis.url });
Object.assign(config.ingest, { statsd: false, flushIntervalMs: 3_600_000 });
config.log.level = 'warn';
const realNow = Date.now;
const node = await startNode({ roles: ['ingest'], modules: [IngestModule], defaultPort: 0 }, config);
const ingest = node.app.get(Ingest);
const askIngest = async (path, init = {}) => fetch(`http://${node.address}${path}`, { ...init, headers: { 'x-binnacle-cluster-secret': secret } });
const spoolBytes = async () => metricIn(await (await askIngest('/metrics')).text(), 'binnacle_ingest_spool_bytes');
let failed = false;
try {
  const startedMs = performance.now();
  let stalledMs = 0;
  for (let flush = 0; flush < flushes; flush++) {
    Date.now = () => dayMs + (flush + 1) * intervalS * 1000;
    const answer = await askIngest('/v2/raw', { method: 'POST', body: message(flush) });
    if (answer.status !== 202) throw new Error(`the message is answered ${answer.status}`);
    await ingest.flush();
    const waitedFromMs = performance.now();
    while ((await spoolBytes()) > spoolBytesMax) await sleep(100);
    stalledMs += performance.now() - waitedFromMs;
    if ((flush + 1) % Math.ceil(flushes / 20) === 0) console.log(`${flush + 1} of ${flushes} flushes after ${seconds(startedMs)} s, ${((performance.now() - startedMs - stalledMs) / (flush + 1)).toFixed(0)} ms each without waiting; storage ${JSON.stringify(storage.memoryMegabytes())} MB`);
  }
  while ((await spoolBytes()) > 0) await sleep(100);
  Date.now = realNow;
  const rows = seriesCount * flushes;
  const writtenS = seconds(startedMs);
  console.log(`written: ${rows} rows in ${writtenS} s, ${Math.round(rows / writtenS)} rows/s, ${((await storage.metric('process_cpu_seconds_total')) / rows * 1e6).toFixed(0)} µs of the storage node's processor time each`);

  const counted = await cluster.sql('SELECT count(*), sum(value), count(DISTINCT timestamp) FROM metrics');
  let expected = 0;
  for (let flush = 0; flush < flushes; flush++) for (let series = 0; series < seriesCount; series++) expected += valueOf(series, flush);
  failed = JSON.stringify(counted.rows) !== JSON.stringify([[rows, expected, flushes]]);
  console.log(`count and sum ${JSON.stringify(counted.rows[0])}, ${failed ? `NOT ${JSON.stringify([rows, expected, flushes])}` : 'as they should be'}`);

  const queries = {
    'one series over the day': `SELECT timestamp, value FROM metrics WHERE name = '${nameOf(7)}' AND source = '${sourceOf(7)}' ORDER BY timestamp`,
    'hourly averages of all series': 'SELECT name, source, timestamp // 3600000 AS hour, avg(value) FROM metrics GROUP BY ALL',
    'hourly averages by name': 'SELECT name, timestamp // 3600000 AS hour, avg(value) FROM metrics GROUP BY ALL',
    'top 10 series': 'SELECT name, source, avg(value) AS average FROM metrics GROUP BY ALL ORDER BY average DESC LIMIT 10',
  };
  for (const [what, text] of Object.entries(queries)) {
    const tookS = [];
    let answer = {};
    try {
      for (let round = 0; round < 3; round++) {
        const sinceMs = performance.now();
        answer = await cluster.sql(text);
        tookS.push(seconds(sinceMs));
      }
      console.log(`${what}: ${tookS.join(', ')} s; ${answer.row_count ?? answer.rows?.length} rows`);
    } catch (error) {
      failed = true;
      console.log(`${what}: ${tookS.join(', ')} s, then ${error.message}`);
    }
  }
  const du = (path) => execFileSync('du', ['-sm', path], { encoding: 'utf8' }).split('\t')[0];
  console.log(`disk: ${du(`${cluster.folder}/remote`)} MB in the remote store, ${du(`${cluster.folder}/storage`)} MB at the storage node; storage ${JSON.stringify(storage.memoryMegabytes())} MB`);
  pausesMs.sort((a, b) => a - b);
  console.log(`longest pauses of storage's event loop in ${pausesMs.length} spans of 5 s: median ${pausesMs[pausesMs.length >> 1]?.toFixed(0)} ms, 99 % ${pausesMs[Math.floor(pausesMs.length * 0.99)]?.toFixed(0)} ms, longest ${pausesMs.at(-1)?.toFixed(0)} ms`);
  console.log(`load average ${execFileSync('cut', ['-d ', '-f1-3', '/proc/loadavg'], { encoding: 'utf8' }).trim()}`);
} finally {
  Date.now = realNow;
  clearInterval(watching);
  await node.stop();
  await cluster.stop();
}
if (failed) process.exitCode = 1;
