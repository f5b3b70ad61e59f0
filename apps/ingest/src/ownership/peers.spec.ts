import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { BadMessage } from '../messages/bad-message.js';
import type { JournalRecord } from '../spool/journal-record.js';
import { Spool } from '../spool/spool.js';
import { laneOf, Peers } from './peers.js';

const secret = 'the-secret-of-the-cluster';
let folder = '';
let server: Server;
let status = 202;
let requests: { key: unknown; path: string | undefined; secret: unknown; body: string }[] = [];
let nodes: NodeRecord[] = [];
let isAvailable = true;
let takenBack: JournalRecord[] = [];
let clock = new FakeClock();
let spool: Spool;
let peers: Peers;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-peers-'));
  [status, requests, isAvailable, takenBack, clock] = [202, [], true, [], new FakeClock()];
  server = createServer((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (chunk) => (body += chunk));
    incoming.on('end', () => {
      requests.push({ key: incoming.headers['idempotency-key'], path: incoming.url, secret: incoming.headers['x-binnacle-cluster-secret'], body });
      outgoing.writeHead(status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  nodes = [{ id: 'b', host: '127.0.0.1', port: (server.address() as AddressInfo).port, state: 'running' } as NodeRecord];
  spool = new Spool(folder, 1_000_000);
  peers = new Peers({
    spool,
    directory: { byRole: () => nodes } as unknown as NodeDirectory,
    state: { availability: () => ({ available: isAvailable, sinceMs: 0, reason: '' }) },
    clusterSecret: secret,
    clock,
    log: pino({ level: 'silent' }),
    graceMs: 8_000,
    takeBack: async (record) => {
      if (record.idempotencyKey === 'broken') throw new BadMessage('it is broken');
      takenBack.push(record);
    },
  });
});
afterEach(async () => {
  await peers.stop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const add = (name: string, nodeId = 'b'): Promise<void> => spool.add([{ lane: laneOf(nodeId), name, content: Buffer.from(`of ${name}`) }], 1);

test('what waits for a node is sent to it, named, with the secret of the cluster', async () => {
  await add('one');
  await add('two');
  await peers.attempt();
  expect(requests).toEqual(['one', 'two'].map((key) => ({ key, path: '/agent/v1/ingest', secret, body: `of ${key}` })));
  expect([spool.lanes(), peers.messagesSent]).toEqual([[], 2]);
});

test('one that does not take it is asked again under the same key, and holds up no other', async () => {
  status = 503;
  await add('one');
  await add('other', 'c');
  nodes = [...nodes, { ...nodes[0], id: 'c', port: 1 } as NodeRecord];
  await peers.attempt();
  expect(peers.failures()).toEqual(['b: it answered 503', expect.stringMatching(/^c: .*ECONNREFUSED/)]);
  status = 202;
  await clock.advance(1_000);
  await waitUntil(() => spool.lanes().join() === laneOf('c'));
  expect(requests.map(({ key }) => key)).toEqual(['one', 'one']);
});

test('what it cannot read is dropped and counted, for it would be refused again', async () => {
  status = 400;
  await add('one');
  await peers.attempt();
  expect([spool.lanes(), peers.messagesRefused, peers.messagesSent]).toEqual([[], 1, 0]);
});

test('what was for a node that has gone for good is taken in here under its own key, after the grace', async () => {
  nodes = [];
  await add('one');
  await add('two');
  await peers.attempt();
  for (const pauseMs of [1_000, 2_000, 4_000]) {
    await clock.advance(pauseMs);
    await waitUntil(() => clock.timerCount() === 1);
  }
  expect([peers.failures(), takenBack]).toEqual([['b: the registry does not know it'], []]);
  await clock.advance(5_000);
  await waitUntil(() => spool.lanes().length === 0);
  expect(takenBack.map(({ kind, encoding, idempotencyKey, body }) => [kind, encoding, idempotencyKey, body.toString()])).toEqual([
    ['handed', 'deflate', 'one', 'of one'],
    ['handed', 'deflate', 'two', 'of two'],
  ]);
  expect([peers.messagesTakenBack, requests, peers.failures()]).toEqual([2, [], []]);
});

test('what nobody can read holds up nothing behind it when it is taken back', async () => {
  nodes = [];
  await add('broken');
  await add('two');
  await peers.attempt();
  for (const pauseMs of [1_000, 2_000, 4_000]) {
    await clock.advance(pauseMs);
    await waitUntil(() => clock.timerCount() === 1);
  }
  await clock.advance(5_000);
  await waitUntil(() => spool.lanes().length === 0);
  expect([takenBack.map(({ idempotencyKey }) => idempotencyKey), peers.messagesRefused, peers.messagesTakenBack, peers.failures()]).toEqual([['two'], 1, 1, []]);
});

test('while cluster state is away nobody has gone, and one that is back in time gets its own', async () => {
  const found = nodes;
  nodes = [];
  isAvailable = false;
  await add('one');
  await peers.attempt();
  const pass = async (): Promise<void> => {
    await clock.advance(5_000);
    await waitUntil(() => clock.timerCount() === 1);
  };
  for (let at = 0; at < 5; at++) await pass();
  isAvailable = true;
  await pass();
  expect(takenBack).toEqual([]);
  nodes = found;
  await clock.advance(5_000);
  await waitUntil(() => spool.lanes().length === 0);
  expect([takenBack, requests.map(({ key }) => key)]).toEqual([[], ['one']]);
});
