import { afterEach, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { PdDiscovery, readTopology } from './pd-discovery.js';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const pair = (key: string, value: unknown): { key: string; value: string } => ({ key: base64(key), value: base64(typeof value === 'string' ? value : JSON.stringify(value)) });

const info = { version: '8.0.11-TiDB-v8.5.0', git_hash: 'd13e52e', ip: '10.0.0.5', listening_port: 4000, status_port: 10080, labels: { zone: 'east' } };
const one = [pair('/topology/tidb/10.0.0.5:4000/info', info), pair('/topology/tidb/10.0.0.5:4000/ttl', '1732190000000000000')];

const servers: Server[] = [];
let running: PdDiscovery | undefined;
afterEach(() => {
  running?.stop();
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

interface Pd {
  address: string;
  kvs: unknown;
  status: number;
  requests: { path: string; body: unknown }[];
}

async function startPd(kvs: unknown): Promise<Pd> {
  const pd: Pd = { address: '', kvs, status: 200, requests: [] };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      pd.requests.push({ path: `${request.method} ${request.url}`, body: JSON.parse(body) });
      response.writeHead(pd.status).end(JSON.stringify({ header: { cluster_id: '1' }, kvs: pd.kvs, count: '2' }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  pd.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return pd;
}

function follow(pdAddrs: string[], clock = new FakeClock()): { discovery: PdDiscovery; next: () => Promise<void> } {
  const discovery = new PdDiscovery({ cluster: 'east', pdAddrs, intervalMs: 3_000, timeoutMs: 500, clock, tls: () => undefined });
  running = discovery;
  discovery.start(() => {});
  const looked = (): Promise<boolean> => waitUntil(() => clock.timerCount() === 1);
  return {
    discovery,
    next: async () => {
      await looked();
      await clock.advance(3_000);
      await looked();
    },
  };
}

test('the servers of the topology are asked of etcd by their prefix', async () => {
  const pd = await startPd(one);
  const { discovery } = follow([pd.address]);
  await waitUntil(() => discovery.looked());
  expect(pd.requests[0]).toEqual({ path: 'POST /v3/kv/range', body: { key: base64('/topology/tidb/'), range_end: base64('/topology/tidb0') } });
  const status = { host: '10.0.0.5', port: 10080 };
  expect(discovery.current()).toEqual([{ host: '10.0.0.5', port: 4000, cluster: 'east', names: ['10.0.0.5'], labels: { zone: 'east' }, status }]);
});

test('a server whose ttl has run out is gone', async () => {
  const pd = await startPd(one);
  const { discovery, next } = follow([pd.address]);
  await waitUntil(() => discovery.looked());
  pd.kvs = one.slice(0, 1);
  await next();
  expect(discovery.current()).toEqual([]);
  // An empty range has no kvs at all.
  pd.kvs = undefined;
  await next();
  expect(discovery.problem()).toBe('');
});

test('when a PD is away the next one is asked, and when all are, what they said last counts', async () => {
  const [first, second] = [await startPd(one), await startPd(one)];
  first.status = 503;
  const { discovery, next } = follow([first.address, second.address]);
  await waitUntil(() => discovery.looked());
  expect(discovery.current()).toHaveLength(1);
  await next();
  // The one that answered is asked first from then on.
  expect([first.requests.length, second.requests.length]).toEqual([1, 2]);
  second.status = 500;
  await next();
  expect(discovery.current()).toHaveLength(1);
  expect(discovery.problem()).toMatch(/no PD answers .*HTTP 500.*HTTP 503.*; what it said last counts/);
  first.status = 200;
  await next();
  expect(discovery.problem()).toBe('');
});

test('a PD that does not answer is given up after its time', async () => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  servers.push(silent);
  const pd = await startPd(one);
  const { discovery } = follow([`127.0.0.1:${(silent.address() as AddressInfo).port}`, pd.address]);
  await waitUntil(() => discovery.looked());
  expect(discovery.current()).toHaveLength(1);
});

test('entries that are none are passed over', () => {
  const odd = [pair('/topology/tidb/10.0.0.6:4000/info', 'no json'), pair('/topology/tidb/10.0.0.6:4000/ttl', '1'), pair('/topology/tidb/x/info', info), pair('/topology/tidb/x/ttl', '1'), { key: 7 }, null];
  expect(readTopology({ kvs: [...odd, ...one] }, 'c').map(({ host }) => host)).toEqual(['10.0.0.5']);
  expect(readTopology({ kvs: [pair('/topology/tidb/tidb-0.tidb.svc:4000/info', { ...info, ip: '', labels: 7 }), pair('/topology/tidb/tidb-0.tidb.svc:4000/ttl', '1')] }, 'c')).toEqual([
    { host: 'tidb-0.tidb.svc', port: 4000, cluster: 'c', names: ['tidb-0.tidb.svc', 'tidb-0'], labels: {}, status: { host: 'tidb-0.tidb.svc', port: 10080 } },
  ]);
  expect(() => readTopology({ kvs: 'x' }, 'c')).toThrow('no answer of etcd');
});
