import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createSocket } from 'node:dgram';
import { Client } from 'typesense';
import { portsOf, type ProductProcess, startEmbedded, temporaryFolder } from './product.js';

const ports = portsOf('embedded');
const folder = temporaryFolder('embedded');
const url = (path: string, port = ports.gateway) => `http://127.0.0.1:${port}${path}`;
const json = async (path: string, port?: number) => (await fetch(url(path, port))).json() as Promise<Record<string, unknown>>;

describe('every role in one process', () => {
  let product: ProductProcess;

  beforeAll(async () => {
    product = await startEmbedded('embedded', folder.path);
  });

  afterAll(async () => {
    await product.stop();
    folder.remove();
  });

  test('prints its ports, its data folder and how long it took', () => {
    const output = product.output();
    for (const port of [ports.gateway, ports.tiflash, ports.tiproxy, ports.gostatsd, ports.typesense]) expect(output).toContain(`:${port}`);
    expect(output).toContain(folder.path);
  });

  test('the Typesense client retrieves health, metrics, statistics and debug, and performs operations', async () => {
    const client = new Client({ nodes: [{ host: '127.0.0.1', port: ports.typesense, protocol: 'http' }], apiKey: 'none needed on loopback' });

    expect(await client.health.retrieve()).toEqual({ ok: true });
    expect(await client.debug.retrieve()).toEqual({ state: 1, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(await client.metrics.retrieve()).toMatchObject({ system_memory_total_bytes: expect.stringMatching(/^\d+$/) });
    expect(await client.stats.retrieve()).toHaveProperty('total_requests_per_second');
    // A single node is its own leader, and says so.
    expect(await client.operations.perform('vote')).toMatchObject({ success: false, error: expect.any(String) });
  });

  test('the slow request log turns on and off while it runs, with its key removed', async () => {
    const set = (value: number) =>
      fetch(url('/config', ports.typesense), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ 'log-slow-requests-time-ms': value }),
      });
    expect((await set(0)).status).toBe(201);
    await fetch(url('/deepcheck?x-typesense-api-key=sesame'));
    await fetch(url('/tifash/livez?verbose'));
    await set(-1);
    await product.untilPrinted(/SLOW REQUEST.*GET \/deepcheck"/);
    await product.untilPrinted(/SLOW REQUEST.*GET \/tifash\/livez\?verbose"/);
    expect(product.output()).not.toContain('sesame');
  });

  test('each dialect answers on its own port in its own form', async () => {
    const bodyOf = async (port: number) => {
      const response = await fetch(url('/no/such/path', port));
      return [response.status, await response.text()];
    };
    expect(await bodyOf(ports.tiflash)).toEqual([404, 'path not found: GET /no/such/path']);
    expect(await bodyOf(ports.gostatsd)).toEqual([404, 'not found']);
    expect(await bodyOf(ports.typesense)).toEqual([404, '{ "message": "Not Found"}']);
  });

  test('a message of metrics is taken, and lines too', async () => {
    expect((await fetch(url('/v2/raw'), { method: 'POST' })).status).toBe(202);
    const socket = createSocket('udp4');
    const ingested = async () => (await fetch(url('/metrics/ingested'))).text();
    await waitUntil(async () => {
      socket.send('deploys:1|c', ports.statsd, '127.0.0.1');
      return /^deploys_total\{source="127.0.0.1"\} [1-9]/m.test(await ingested());
    });
    socket.close();
    const select = async () => (await (await fetch(url('/api/v1/sql'), { method: 'POST', body: "SELECT name, source, sum(value) > 0 FROM metrics WHERE kind = 'counter' GROUP BY ALL" })).json()) as { rows?: unknown[] };
    await waitUntil(async () => ((await select()).rows?.length ?? 0) > 0, { timeoutMs: 25_000, what: 'rows of metrics' });
    expect((await select()).rows).toEqual([['deploys', '127.0.0.1', true]]);
  });

  test('a profile is taken, kept and shown through the gateway; a node that has left can be asked about', async () => {
    const taken = await fetch(url('/debug/pprof/profile?seconds=0.2&format=pprof'));
    const id = taken.headers.get('x-binnacle-profile');
    const [profile] = (await json('/api/v1/profiles?limit=1'))['profiles'] as { id: string; node: string }[];
    expect(profile).toMatchObject({ id, kind: 'cpu' });
    const kept = await fetch(url(`/api/v1/profiles/${id}`));
    expect(Buffer.from(await kept.arrayBuffer())).toEqual(Buffer.from(await taken.arrayBuffer()));
    expect((await fetch(url(`/api/v1/profiles/${id}/diff/${id}`))).headers.get('content-type')).toBe('image/svg+xml');
    expect(await json(`/api/v1/profiles?node=${profile?.node}&limit=1`)).toMatchObject({ profiles: [{ id }] });
    for (const node of ['left-long-ago', '*']) expect(await json(`/api/v1/profiles?node=${node}`)).toEqual({ profiles: [], unreachable: [] });
    expect(await (await fetch(url('/debug/pprof/heap_list?node=left-long-ago'))).text()).toBe('');
  });

  test('the owner of the remote gc resigns, and as the only candidate owns it again in the next term', async () => {
    const terms = async () => ((await json('/api/v1/leases/remote-gc/history'))['tenures'] as { term: number }[]).map((tenure) => tenure.term);
    const [before = 0] = await terms();
    expect(await json('/tifash/remote/owner/info')).toMatchObject({ status: 'IsOwner' });
    expect(await json('/tiflash/remote/owner/resign')).toEqual({ message: 'Done' });
    await waitUntil(async () => (await json('/tiflash/remote/owner/info'))['status'] === 'IsOwner', { what: 'an owner again' });
    expect(await terms()).toContain(before + 1);
  });

  test('Ctrl-C drains and exits 0; nothing holds the next start up, and it keeps what was configured and raises the term', async () => {
    const readyMs = () => Number(/binnacle ready in (\d+) ms/.exec(product.output())?.[1]);
    const firstReadyMs = readyMs();
    const leader = async () => ((await json('/api/v1/cluster'))['leases'] as { name: string; term: number }[]).find((lease) => lease.name === 'leader');
    const termBefore = (await leader())?.term ?? 0;
    await fetch(url('/config'), { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"healthy-read-lag": 77}' });

    expect(await product.stop('SIGINT')).toBe(0);
    product = await startEmbedded('embedded', folder.path);

    expect(readyMs()).toBeLessThan(2_000 + 2 * firstReadyMs);
    expect(await json('/config')).toMatchObject({ 'healthy-read-lag': 77 });
    expect((await leader())?.term).toBeGreaterThan(termBefore);
  });
});
