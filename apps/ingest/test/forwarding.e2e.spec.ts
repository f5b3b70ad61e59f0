import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { pino } from 'pino';
import { Forwarder, forwardedParts } from '../src/forwarding/forwarder.js';
import { RawMessageWriter } from '../src/forwarding/raw-message-writer.js';
import type { CounterSeries } from '../src/series/series.js';
import { SeriesStore } from '../src/series/series-store.js';
import { Spool } from '../src/spool/spool.js';
import { type IngestNode, newFolder, removeFolder, startIngest } from './ingest-node.js';

let folder = '';
const running: IngestNode[] = [];
beforeEach(() => void (folder = newFolder()));
afterEach(async () => {
  for (const node of running.splice(0)) await node.stop();
  removeFolder(folder);
});

async function start(name: string, change: Parameters<typeof startIngest>[1]): Promise<IngestNode> {
  const node = await startIngest(join(folder, name), change);
  running.push(node);
  return node;
}

/** Stands for a gateway: what it gets it passes on to the node, with the cluster's secret, unless it is told to answer by itself. */
async function startDoor(node: IngestNode) {
  const door = { port: await freePort(), requests: [] as { path: string; key: string; agent: string; token: string }[], answer: undefined as number | 'lost' | undefined, close: async () => {} };
  const server = createServer((incoming, outgoing) => {
    const { headers, url = '' } = incoming;
    door.requests.push({ path: url, key: String(headers['idempotency-key']), agent: String(headers['user-agent']), token: String(headers.authorization) });
    const { answer } = door;
    if (typeof answer === 'number') return void incoming.resume().on('end', () => outgoing.writeHead(answer).end());
    const [host, port] = node.node.address.split(':');
    const onward = httpRequest({ host, port, path: url, method: 'POST', headers: { ...headers, 'x-binnacle-cluster-secret': node.node.context.clusterSecret } }, (reply) => {
      reply.resume();
      // The node has counted it, and the sender does not hear of that.
      if (answer === 'lost') outgoing.destroy();
      else outgoing.writeHead(reply.statusCode ?? 500).end();
    });
    incoming.pipe(onward);
  });
  server.listen(door.port, '127.0.0.1');
  await once(server, 'listening');
  door.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return door;
}

test('what one node flushes the other one has, with its tags, sources and figures', async () => {
  const receiver = await start('receiver', () => {});
  const door = await startDoor(receiver);
  const sender = await start('sender', ({ ingest }) => Object.assign(ingest, { lineSource: 'host-tag', forwardUrl: `http://127.0.0.1:${door.port}`, forwardApiKey: 'the-key', tables: false }));
  const lines = Buffer.from('hits:1|c|@0.1|#a:1,host:web-1\nload:0.5|g\nusers:a|s\nusers:b|s\ntook:10|ms|@0.5\ntook:30|ms\n_e{1,1}:a|b');
  sender.ingest.lines.take(lines, 0, lines.length, '');
  await sender.ingest.flush();
  await waitUntil(() => sender.ingest.forwarder?.messagesSent === 2);
  await receiver.ingest.flush();
  const samples = await receiver.samples();
  expect(Object.fromEntries(samples)).toMatchObject({ 'hits_total{a="1",source="web-1"}': 10, load: 0.5, users_unique: 2, took_count: 3, took_sum: 60, took_mean: 20, took_max: 30 });
  expect(door.requests.map(({ path }) => path)).toEqual(['/v2/raw', '/v2/event']);
  expect(door.requests[0]).toMatchObject({ agent: 'binnacle (http forwarder)', token: 'Bearer the-key' });
  await door.close();
});

test('an answer that is lost makes no count twice, and one that is no success is tried again', async () => {
  const receiver = await start('receiver', () => {});
  const door = await startDoor(receiver);
  const clock = new FakeClock();
  const spool = new Spool(join(folder, 'spool'), 1_000_000);
  const forwarder = new Forwarder({ spool, url: `http://127.0.0.1:${door.port}`, apiKey: '', clock, log: pino({ level: 'silent' }) });
  const store = new SeriesStore({ seriesMax: 10, keyspaceSeriesMax: 10, timerValuesMax: 10, setMembersMax: 10, expiryMs: 1_000 }, clock);
  store.count(store.series({ kind: 'counter', name: 'x', tags: [], source: '' }) as CounterSeries, 3);
  const writer = new RawMessageWriter('gostatsd');
  store.flush({ intervalS: 1, percents: [], beforeClose: (series) => writer.add(series) });
  await spool.add(forwardedParts(writer.take(), []), 1);
  for (const answer of [503, 'lost', undefined] as const) {
    door.answer = answer;
    if (answer === 503) forwarder.drain.wake();
    else await clock.advance(30_000);
    await waitUntil(() => (answer === undefined ? spool.batchCount() === 0 : clock.timerCount() === 1));
  }
  expect(new Set(door.requests.map(({ key }) => key)).size).toBe(1);
  expect(door.requests).toHaveLength(3);
  expect((await receiver.samples()).get('x_total')).toBe(3);
  await forwarder.stop();
  await door.close();
});

test('a message that is refused for what it is holds up nothing behind it', async () => {
  const receiver = await start('receiver', () => {});
  const door = await startDoor(receiver);
  const clock = new FakeClock();
  const spool = new Spool(join(folder, 'spool'), 1_000_000);
  const forwarder = new Forwarder({ spool, url: `http://127.0.0.1:${door.port}`, apiKey: '', clock, log: pino({ level: 'silent' }) });
  for (const answer of [400, 413, 401, undefined] as const) {
    door.answer = answer;
    await spool.add(forwardedParts([Buffer.alloc(0)], []), 1);
    await forwarder.drain.attempt();
  }
  expect([forwarder.messagesRefused, forwarder.messagesSent, spool.batchCount(), forwarder.drain.failure]).toEqual([2, 0, 2, expect.stringContaining('answered 401')]);
  await clock.advance(30_000);
  await waitUntil(() => spool.batchCount() === 0);
  expect([forwarder.messagesRefused, forwarder.messagesSent]).toEqual([2, 2]);
  await forwarder.stop();
  await door.close();
});
