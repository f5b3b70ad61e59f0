import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type IngestNode, newFolder, removeFolder, startIngest } from './ingest-node.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const schemaFolder = new URL('../schema/', import.meta.url).pathname;
const secret = 'a-secret-of-32-characters-or-so!';
const hits = execFileSync('protoc', ['--encode=gostatsd.RawMessageV2', '-I', schemaFolder, 'gostatsd.proto'], {
  input: 'Counters { key: "hits" value { TagMap { key: ",s:" value { Value: 5 } } } }',
});

let folder = '';
beforeEach(() => void (folder = newFolder()));
afterEach(() => removeFolder(folder));

/** A process of its own, which can be killed; it flushes on its own every so many milliseconds. */
async function startProcess(flushIntervalMs: number): Promise<{ child: ChildProcess; post: (key: string) => Promise<Response> }> {
  const port = await freePort();
  const flags = ['--node.id=ingest-0', `--data-dir=${folder}`, `--node.port=${port}`, `--node.cluster-secret=${secret}`, '--ingest.statsd=false', `--ingest.flush-interval-ms=${flushIntervalMs}`, '--log.level=silent'];
  const child = spawn(process.execPath, [main, ...flags], { stdio: 'inherit' });
  guardProcess(child.pid as number, folder);
  await waitUntil(async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.status === 200, { timeoutMs: 20_000 });
  const post = (key: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/v2/raw`, { method: 'POST', body: new Uint8Array(hits), headers: { 'x-binnacle-cluster-secret': secret, 'idempotency-key': key } });
  return { child, post };
}

/** Sum of the counter over all rows of the spool. */
function spooled(): number {
  const spool = join(folder, 'ingest', 'node-ingest-0', 'spool');
  const batches = existsSync(spool) ? readdirSync(spool).filter((name) => !name.endsWith('.half')) : [];
  const rows = batches.flatMap((batch) => readdirSync(join(spool, batch)).flatMap((part) => readFileSync(join(spool, batch, part), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as { name: string; kind: string; value: number })));
  return rows.filter(({ name, kind }) => name === 'hits' && kind === 'counter').reduce((sum, { value }) => sum + value, 0);
}

async function counted(node: IngestNode): Promise<number> {
  await node.ingest.flush();
  return spooled();
}

test('what was acknowledged before kill -9 is in the spool after the next start, once, and its retries are still recognised', async () => {
  // Short intervals: the kill falls into the middle of flushes.
  const { child, post } = await startProcess(100);
  let acknowledged = 0;
  let sent = 0;
  const sending = Array.from({ length: 8 }, async () => {
    for (;;) {
      sent += 1;
      const answer = await post(`key-${sent}`).catch(() => undefined);
      if (answer?.status !== 202) return;
      acknowledged += 1;
    }
  });
  await waitUntil(() => acknowledged > 300, { timeoutMs: 20_000 });
  child.kill('SIGKILL');
  await Promise.all([...sending, exited(child)]);

  const next = await startIngest(folder, (config) => (config.node.clusterSecret = secret));
  const total = await counted(next);
  // Of what was not acknowledged some may be there: it was durable, and the answer was cut off.
  expect(total).toBeGreaterThanOrEqual(acknowledged * 5);
  expect(total).toBeLessThanOrEqual(sent * 5);
  await next.stop();
}, 60_000);

test('what came since the last flush is replayed, with its keys', async () => {
  const { child, post } = await startProcess(3_600_000);
  for (const key of ['a', 'b', 'c']) expect((await post(key)).status).toBe(202);
  child.kill('SIGKILL');
  await exited(child);
  expect(spooled()).toBe(0);
  const next = await startIngest(folder, (config) => (config.node.clusterSecret = secret));
  const retry = await next.fetch('/v2/raw', { method: 'POST', body: new Uint8Array(hits), headers: { 'idempotency-key': 'b' } });
  expect(retry.status).toBe(202);
  expect(await counted(next)).toBe(15);
  await next.stop();
}, 60_000);

test('a stop leaves nothing to replay', async () => {
  const first = await startIngest(folder);
  await first.fetch('/v2/raw', { method: 'POST', body: new Uint8Array(hits) });
  await first.stop();
  expect([spooled(), readdirSync(join(folder, 'ingest', 'node-ingest-0', 'journal'))]).toEqual([5, []]);
  const second = await startIngest(folder);
  expect(await counted(second)).toBe(5);
  const text = async (path: string): Promise<string> => (await second.fetch(path)).text();
  await waitUntil(async () => /tables: no storage node that takes rows is running; 1 flushes of \d+ bytes wait/.test(await text('/healthcheck?dependencies=true')));
  expect((await second.fetch('/healthcheck')).status).toBe(200);
  await second.stop();
});
