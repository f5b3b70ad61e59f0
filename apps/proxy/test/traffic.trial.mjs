/*
 * A replay of ten million statements to a server that answers at once: memory and speed. After a build:
 *   node apps/proxy/test/traffic.trial.mjs [statements] [connections]
 * Exits 1 when it is not as it has to be.
 */
import './typescript-files.mjs';
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { systemClock } = await import('@binnacle/cluster-state/clock');
const { TrafficWriter } = await import('../src/traffic/files/traffic-writer.js');
const { RecordEncoder } = await import('../src/traffic/files/record-encoder.js');
const { encodeResult } = await import('../src/traffic/files/results-file.js');
const { ReplayProcess } = await import('../src/traffic/jobs/replay-process.js');
const { judge, defaultThresholds } = await import('../src/traffic/report/verdict.js');
const { textReport } = await import('../src/traffic/report/text-report.js');

const memoryBytesMax = 500e6;
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-traffic-trial-')));
const store = { s3Endpoint: '', s3Region: '', s3ForcePathStyle: false, attemptTimeoutMs: 10_000, timeoutMs: 30_000, connectionsMax: 8 };
const fail = (why) => {
  console.log(`NOT AS IT HAS TO BE: ${why}`);
  process.exitCode = 1;
};

/** One statement each microsecond: the replay is behind from its first second on, which is when memory grows if it does. */
async function generate(output, statements, connections) {
  let failure;
  const writer = await TrafficWriter.open({ output, layers: { isCompressed: true, order: 'compress-first' }, version: 'trial', nowMs: Date.now, store, temporaryFolder: folder, onWarning: console.log, onFailure: (error) => (failure = error) });
  const encoder = new RecordEncoder();
  const ordinals = new Float64Array(connections + 1);
  const startUs = (Date.now() - 3_600_000) * 1_000;
  for (let done = 0; done < statements && failure === undefined; ) {
    const [records, results] = [Buffer.allocUnsafe(2 ** 20), Buffer.allocUnsafe(2 ** 20)];
    let [recordsAt, resultsAt, count] = [0, 0, 0];
    while (done < statements && recordsAt < records.length - 1_000 && resultsAt < results.length - 1_000) {
      const connectionId = 1 + (done % connections);
      const timeUs = startUs + done;
      const payload = Buffer.from(`UPDATE accounts_${done % 100} SET balance = balance + ${done % 97} WHERE id = ${done}`);
      recordsAt = encoder.record(records, recordsAt, { timeUs, connectionId, command: 3, payload });
      resultsAt = encodeResult(results, resultsAt, timeUs + 200, { connectionId, ordinal: ++ordinals[connectionId], latencyUs: 200, errorCode: 0, rows: 0, affectedRows: 0, ordered: '0'.repeat(16), unordered: '0'.repeat(16) });
      done++;
      count++;
    }
    // Whoever writes a capture never waits; who makes one up has to.
    while (failure === undefined && !writer.writeRecords(records.subarray(0, recordsAt), count)) await new Promise((resolve) => setTimeout(resolve, 20));
    while (failure === undefined && !writer.writeResults(results.subarray(0, resultsAt), count)) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await writer.close({ state: 'done', leftOut: {} });
  if (failure !== undefined) throw failure;
}

async function memory(statements = 10_000_000, connections = 64) {
  const startedAtMs = performance.now();
  await generate(join(folder, 'capture'), statements, connections);
  console.log(`${statements} statements of ${connections} connections written in ${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s, ${execFileSync('du', ['-sh', join(folder, 'capture')]).toString().split('\t')[0]}`);
  const server = fork(fileURLToPath(new URL('ok-server.mjs', import.meta.url)), [], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const port = Number((await once(server.stdout, 'data')).toString());
  let [last, saidAtMs] = [undefined, 0];
  const replayStartedMs = performance.now();
  const order = { input: join(folder, 'capture'), store, keyFile: '', target: { host: '127.0.0.1', port, tls: false }, username: 'root', password: '', speed: 10, readOnly: false, ignoreErrors: false, filters: { users: [], commands: [], digests: [] } };
  const replay = new ReplayProcess(order, systemClock, { warning: console.log, progress: (progress) => {
    last = progress;
    if (performance.now() - saidAtMs < 10_000) return;
    saidAtMs = performance.now();
    console.log(`${(progress.share * 100).toFixed(1)} %, ${progress.sent} sent, ${progress.different} different, ${memoryOf(replay.pid).nowMb} MB now`);
  } });
  let highest = { nowMb: 0, highestMb: 0 };
  const watching = setInterval(() => (highest = memoryOf(replay.pid) ?? highest), 250);
  try {
    const report = judge(await replay.facts, defaultThresholds);
    const seconds = (performance.now() - replayStartedMs) / 1_000;
    console.log(textReport(report).split('\n').slice(0, 12).join('\n'));
    console.log(`${statements} statements replayed in ${seconds.toFixed(0)} s (${Math.round(statements / seconds)}/s), ${last?.sent} sent; the process had at most ${highest.highestMb} MB`);
    if (highest.highestMb * 1e6 > memoryBytesMax) fail('it needed more than 500 MB');
    if (report.verdict !== 'PASS' || report.totals.equal !== statements) fail(`${report.totals.equal} of ${statements} were equal`);
  } finally {
    clearInterval(watching);
    server.kill();
  }
}

function memoryOf(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const mb = (name) => Math.round((Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1_024) / 1e6);
    return { nowMb: mb('VmRSS'), highestMb: mb('VmHWM') };
  } catch {
    return undefined;
  }
}

try {
  await memory(...process.argv.slice(2).map(Number));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
