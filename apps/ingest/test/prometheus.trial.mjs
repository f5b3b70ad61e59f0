/*
 * What is shown to Prometheus, read by Prometheus, after a build:  PATH=$PATH:FOLDER node apps/ingest/test/prometheus.trial.mjs
 * Wants `prometheus` and `promtool` (Debian's package prometheus; `apt-get download prometheus && dpkg -x *.deb FOLDER` is enough). Lines of every kind, with names and tags of every sort, come in; promtool checks
 * the older format, a real server scrapes OpenMetrics through the gateway, and its answers are compared with what was sent. Exits 1 when something is not taken.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { freePort } from '@binnacle/testing/free-port';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { startTrialCluster } from './trial-cluster.mjs';

/** Long enough that everything is read before the next flush, which has nothing new. */
const flushIntervalMs = 15_000;
const lines = [
  'web.hits:3|c|#env:prod,canary', 'web.hits:4|c|@0.5|#canary,env:prod', 'web.hits:1|c', 'load:0.25|g|#say:"hi\\there"', 'load.2xx-rate/5m:7|g|#le:1,quantile:2,__name__:x,ünïcode:ä€😀',
  'took:10:20:30:40|ms|#route:/a/b', 'size:5|h', 'dist:6|d', 'users:ann|s', 'users:ben|s', 'a:1|g', 'a:2|ms', 'a_total:3|g', 'a:4|c', '9lives:9|c', `${'long'.repeat(60)}:1|c`,
];
const expected = {
  'web_hits_total{canary="true",env="prod"}': 11,
  'web_hits_total{env=""}': 1,
  'load{say="\\"hi\\\\there\\""}': 0.25,
  'took_count{route="/a/b"}': 4,
  'took_sum{route="/a/b"}': 100,
  'took{quantile="0.9"}': 40,
  users_unique: 2,
  _9lives_total: 9,
};

const cluster = await startTrialCluster();
const statsdPort = await freePort();
const ingest = await cluster.start('ingest', { BINNACLE_INGEST_TCP_PORT: String(statsdPort), BINNACLE_INGEST_UDP_PORT: String(await freePort()), BINNACLE_INGEST_FLUSH_INTERVAL_MS: String(flushIntervalMs), BINNACLE_INGEST_LINE_SOURCE: 'none' });
let failed = false;
const check = (what, isRight, detail = '') => {
  failed ||= !isRight;
  console.log(`${isRight ? 'right' : 'WRONG'}: ${what} ${detail}`);
};
let prometheus;
try {
  const socket = connect(statsdPort, '127.0.0.1');
  socket.end(`${lines.join('\n')}\n`);
  await once(socket, 'close');
  await waitUntil(async () => (await ingest.metric('binnacle_ingest_lines_total')) === lines.length, { what: 'every line' });
  const flushes = await ingest.metric('binnacle_ingest_flushes_total');
  await waitUntil(async () => (await ingest.metric('binnacle_ingest_flushes_total')) > flushes, { timeoutMs: 2 * flushIntervalMs, what: 'a flush' });

  const text = await (await fetch(`${cluster.gateway}/metrics/ingested`)).text();
  const promtool = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  // 3: it can be read, and a style is not kept: there are no help texts, and names are what clients made them.
  check('promtool reads the exposition', promtool.status === 0 || promtool.status === 3, `(status ${promtool.status ?? promtool.error}; ${[...new Set((promtool.stderr ?? '').split('\n').map((line) => line.replace(/^\S+ /, '')))].join('; ')})`);

  const port = await freePort();
  const config = `${cluster.folder}/prometheus.yml`;
  writeFileSync(config, `scrape_configs:\n  - job_name: ingested\n    scrape_interval: 1s\n    metrics_path: /metrics/ingested\n    static_configs: [{targets: ['${cluster.gateway.slice('http://'.length)}']}]\n`);
  prometheus = spawn('prometheus', [`--config.file=${config}`, `--storage.tsdb.path=${cluster.folder}/prometheus`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'], { stdio: 'inherit' });
  prometheus.once('exit', guardProcess(prometheus.pid, ''));
  const ask = async (query) => (await (await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`)).json()).data?.result ?? [];
  await waitUntil(async () => (await ask('up').catch(() => []))[0]?.value[1] !== undefined, { timeoutMs: 30_000, what: 'a scrape' });
  await waitUntil(async () => (await ask('up'))[0].value[1] === '1', { timeoutMs: 15_000 }).catch(() => undefined);
  const { data } = await (await fetch(`http://127.0.0.1:${port}/api/v1/targets`)).json();
  check('Prometheus scrapes it', data.activeTargets[0].health === 'up', data.activeTargets[0].lastError);
  for (const [query, value] of Object.entries(expected)) {
    const result = await ask(query);
    check(query, result.length === 1 && Number(result[0].value[1]) === value, JSON.stringify(result.map((each) => each.value[1])));
  }
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  const [scraped] = await ask('scrape_samples_scraped');
  check('every sample is taken', Number(scraped?.value[1]) === samples, `(${scraped?.value[1]} of ${samples})`);
} finally {
  prometheus?.kill('SIGTERM');
  if (prometheus?.pid !== undefined) await exited(prometheus);
  await cluster.stop();
}
process.exit(failed ? 1 : 0);
