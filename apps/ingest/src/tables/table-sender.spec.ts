import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { FlushedCounter, type FlushedSeries } from '../series/figures.js';
import { Spool } from '../spool/spool.js';
import { rowsOf } from './rows.js';
import { TableSender } from './table-sender.js';

interface Request {
  readonly path: string;
  readonly body: string;
  readonly secret: unknown;
}

let folder = '';
let server: Server;
let requests: Request[] = [];
/** By the path of the request. */
let answer: (request: Request) => readonly [number, string];
let clock = new FakeClock();
const secret = 'the-secret-of-the-cluster';

/** Of a storage node that takes everything. */
function taken({ path, body }: Request): readonly [number, string] {
  return path === '/collections' ? [201, '{}'] : [200, body.trimEnd().split('\n').map(() => '{"success":true}').join('\n')];
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-sender-'));
  requests = [];
  clock = new FakeClock();
  answer = taken;
  server = createServer((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (chunk) => (body += chunk));
    incoming.on('end', () => {
      const request = { path: incoming.url ?? '', body, secret: incoming.headers['x-binnacle-cluster-secret'] };
      requests.push(request);
      const [status, text] = answer(request);
      outgoing.writeHead(status).end(text);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

function sender(spool: Spool, nodes: number = 1): TableSender {
  const { port } = server.address() as AddressInfo;
  const node = { id: 'storage-0', host: '127.0.0.1', port, state: 'running', labels: { 'disagg-mode': 'Both' } };
  const directory = { byRole: () => Array.from({ length: nodes }, () => node) } as unknown as NodeDirectory;
  return new TableSender({ spool, directory, clusterSecret: secret, clock, log: pino({ level: 'silent' }) });
}

const hits: FlushedSeries = new FlushedCounter({ kind: 'counter', name: 'hits', tags: ['a:1'], source: 'web-1' }, 20, 10);
const event = { title: 'deploy', text: 'v2', happenedAtS: 1_600_000_000, source: 'web-1', aggregationKey: 'k', sourceTypeName: 'ci', tags: [], priority: 'low', type: 'success', kind: 'event' } as const;

async function filled(): Promise<Spool> {
  const spool = new Spool(join(folder, 'spool'), 1_000_000);
  await spool.add(rowsOf([hits], [event], 1_700_000_000_000), 1);
  return spool;
}

test('rows reach their tables with name, tags, source, time, value and kind, and each has an id of its own', async () => {
  const spool = await filled();
  const running = sender(spool);
  running.drain.wake();
  await waitUntil(() => spool.batchCount() === 0);
  expect(requests.map(({ path, secret: shown }) => [path, shown])).toEqual([
    ['/collections/metrics/documents/import?action=upsert', secret],
    ['/collections/events/documents/import?action=upsert', secret],
  ]);
  const rows = requests.flatMap(({ body }) => body.trimEnd().split('\n').map((line) => JSON.parse(line) as { id: string }));
  expect(new Set(rows.map(({ id }) => id)).size).toBe(2);
  expect(rows).toMatchObject([
    { name: 'hits', tags: ['a:1'], source: 'web-1', timestamp: 1_700_000_000_000, kind: 'counter', value: 20 },
    { name: 'hits', tags: ['a:1'], source: 'web-1', timestamp: 1_700_000_000_000, kind: 'counter.per_second', value: 2 },
    { name: 'deploy', text: 'v2', timestamp: 1_600_000_000_000, aggregation_key: 'k', source_type: 'ci', type: 'success', priority: 'low', kind: 'event' },
  ]);
  expect(running.rowsSent).toBe(3);
  await running.stop();
});

test('a table that is not there is made', async () => {
  const made = new Set<string>();
  answer = (request) => {
    if (request.path === '/collections') made.add((JSON.parse(request.body) as { name: string }).name);
    return request.path === '/collections' || made.has(request.path.split('/')[2] as string) ? taken(request) : [404, '{"message": "Not Found"}'];
  };
  const spool = await filled();
  const running = sender(spool);
  running.drain.wake();
  await waitUntil(() => spool.batchCount() === 0);
  expect([...made]).toEqual(['metrics', 'events']);
  await running.stop();
});

test('while storage is away rows wait, the reason is told, and pauses grow to half a minute', async () => {
  answer = () => [503, '{"message": "Not Ready or Lagging"}'];
  const spool = await filled();
  const running = sender(spool);
  running.drain.wake();
  for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    await waitUntil(() => running.drain.failure !== undefined && clock.timerCount() === 1);
    const before = requests.length;
    expect(running.drain.failure).toBe('node storage-0 answered 503: {"message": "Not Ready or Lagging"}');
    // A flush in the meantime does not hurry it.
    running.drain.wake();
    await clock.advance(pauseMs - 1);
    expect(requests.length).toBe(before);
    await clock.advance(1);
    await waitUntil(() => requests.length === before + 1);
  }
  answer = taken;
  await waitUntil(() => clock.timerCount() === 1);
  await clock.advance(30_000);
  await waitUntil(() => spool.batchCount() === 0 && running.drain.failure === undefined);
  await running.stop();
});

test('a row that was not written makes its part go again, with the same ids; one that is refused for what it is does not', async () => {
  let failing = true;
  answer = (request) => {
    const [status, text] = taken(request);
    if (!request.path.includes('metrics') || !failing) return [status, text];
    failing = false;
    return [200, '{"success":true}\n{"code":503,"error":"Not Ready","success":false}'];
  };
  const spool = await filled();
  const running = sender(spool);
  running.drain.wake();
  await waitUntil(() => clock.timerCount() === 1);
  await clock.advance(1_000);
  await waitUntil(() => spool.batchCount() === 0);
  expect(requests[1]?.body).toBe(requests[0]?.body);
  answer = (request) => [200, taken(request)[1].replace('{"success":true}', '{"code":400,"error":"bad","success":false}')];
  await spool.add(rowsOf([hits], [], 1), 2);
  running.drain.wake();
  await waitUntil(() => spool.batchCount() === 0);
  expect([running.rowsSent, running.rowsRefused]).toEqual([4, 1]);
  await running.stop();
});

test('without a storage node it says so, and a stop does not wait for one', async () => {
  const spool = await filled();
  const running = sender(spool, 0);
  running.drain.wake();
  await waitUntil(() => running.drain.failure === 'no storage node that takes rows is running');
  await running.stop();
  expect(spool.batchCount()).toBe(1);
});
