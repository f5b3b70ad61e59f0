import { afterEach, describe, expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answerBytesMax } from '../src/fan-out.js';
import { answerText, GatewayUnderTest, TestNode, testRoute, type Handler } from './gateway-under-test.js';

const routes = [
  testRoute({ path: '/self', target: { kind: 'self' }, deadlineMs: 1_000 }),
  testRoute({ path: '/rather', target: { kind: 'self', rather: 'storage' } }),
  testRoute({ path: '/storage', deadlineMs: 1_000 }),
  testRoute({ path: '/storage', method: 'POST', bodyBytesMax: 4_000_000 }),
  testRoute({ path: '/keyed', method: 'POST', byIdempotencyKey: true }),
  testRoute({ path: '/whole', method: 'POST', everyNode: false }),
  testRoute({ path: '/leader', target: { kind: 'lease-owner', lease: 'leader', role: 'storage' } }),
  testRoute({ path: '/about', target: { kind: 'subject', role: 'profiling', subjectRole: 'storage' } }),
  testRoute({ path: '/together', target: { kind: 'subject', role: 'profiling', subjectRole: 'any', together: true } }),
];

const echoUrl = (id: string): Handler => (request, response) => answerText(`${id} ${request.url}`)(request, response);

let gateway: GatewayUnderTest;
afterEach(() => gateway.stop());

async function start(clock?: FakeClock): Promise<void> {
  gateway = await GatewayUnderTest.start({ routes, ...(clock && { clock }) });
  for (const id of ['storage-0', 'storage-1']) await gateway.addNode(id, echoUrl(id));
  await gateway.addNode('profiling-0', echoUrl('profiling-0'), ['profiling']);
}

const get = async (path: string, headers = {}) => {
  const response = await fetch(gateway.url(path), { headers });
  return `${response.status} ${await response.text()}`;
};

describe('one node', () => {
  test('is named by query or header, and is not told so', async () => {
    await start();
    for (const id of ['storage-0', 'storage-1']) {
      expect(await get(`/storage?a=1&node=${id}`)).toBe(`200 ${id} /storage?a=1`);
      expect(await get('/storage', { 'x-binnacle-node': id })).toBe(`200 ${id} /storage`);
      expect(await get(`/self?node=${id}`)).toBe(`200 ${id} /self`);
    }
    expect(await get('/self')).toBe('200 own');
  });

  test('of a role answers rather than the gateway, in whatever state it is', async () => {
    await start();
    expect(await get('/rather')).toMatch(/^200 storage-[01] \/rather$/);
    for (const node of gateway.nodes.slice(0, 2)) {
      node.state = 'starting';
      await gateway.register(node.record());
    }
    expect(await get('/rather')).toBe('200 storage-0 /rather');
    expect(await get('/rather?node=profiling-0')).toBe('200 profiling-0 /rather');
  });

  test('gets all that has one idempotency key, while it runs', async () => {
    await start();
    const post = async (key: string): Promise<string> => (await fetch(gateway.url('/keyed'), { method: 'POST', headers: { 'idempotency-key': key } })).text();
    const keys = Array.from({ length: 20 }, (_, at) => `key ${at}`);
    const first = await Promise.all(keys.map(post));
    expect(new Set(first)).toEqual(new Set(['storage-0 /keyed', 'storage-1 /keyed']));
    for (let round = 0; round < 3; round++) expect(await Promise.all(keys.map(post))).toEqual(first);
    const [node] = gateway.nodes as [TestNode];
    node.state = 'stopping';
    await gateway.register(node.record());
    await waitUntil(async () => new Set(await Promise.all(keys.map(post))).size === 1);
    expect(await post('key 0')).toBe('storage-1 /keyed');
  });

  test('that is stopping is still reached by its name', async () => {
    await start();
    const [node] = gateway.nodes as [TestNode];
    node.state = 'stopping';
    await gateway.register(node.record());
    expect(await get('/storage?node=storage-0')).toBe('200 storage-0 /storage');
  });

  test('of a subject route is what the request is about', async () => {
    await start();
    expect(await get('/about?node=storage-1')).toBe('200 profiling-0 /about?node=storage-1');
    expect(await get('/about?x=1', { 'x-binnacle-node': 'storage-1' })).toBe('200 profiling-0 /about?x=1&node=storage-1');
    expect(await get('/about')).toBe('200 profiling-0 /about');
    expect(await get('/together?node=*&x=1')).toBe('200 profiling-0 /together?x=1&node=*');
    expect(await get('/about?node=profiling-0')).toMatch(/^400 .*storage-0, storage-1/);
    expect(await get('/about?node=nobody')).toMatch(/^404 .*profiling-0, storage-0, storage-1/);
  });
});

describe('the owner of a lease', () => {
  const campaign = (nodeId: string) =>
    gateway.state.campaign({ lease: 'leader', candidate: { nodeId, incarnation: nodeId, address: 'x:1' }, ttlMs: 60_000, termFloor: 0 });

  test('gets the request, also after it has changed; while there is none, any node of the role', async () => {
    await start();
    expect(await get('/leader')).toMatch(/^200 storage-[01] /);
    for (const id of ['storage-1', 'storage-0']) {
      const answer = await campaign(id);
      if (!answer.held) throw new Error('the lease is taken');
      await waitUntil(async () => (await Promise.all(Array.from({ length: 8 }, () => get('/leader')))).every((text) => text === `200 ${id} /leader`));
      await gateway.state.resign({ lease: 'leader', candidate: { nodeId: id, incarnation: id, address: 'x:1' }, term: answer.term });
    }
  });

  test('that cannot be reached is stood in for by another node of the role', async () => {
    await start();
    await campaign('storage-2');
    await gateway.register(new TestNode('storage-2', ['storage'], answerText('')).record(await freePort()));
    expect(await get('/leader')).toMatch(/^200 storage-[01] /);
  });
});

describe('every node', () => {
  const json = async (path: string, init?: RequestInit) => (await fetch(gateway.url(path), init)).json();

  test('is asked, and the answers stand by node id with the status of each', async () => {
    await start();
    await gateway.addNode('storage-2', (_request, response) => {
      response.writeHead(500, { 'content-type': 'application/json; charset=utf-8' }).end('{"ok":[],"failed":["disk"]}');
    });
    await gateway.addNode('storage-3', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(Buffer.from([0, 255]));
    });
    await gateway.register(new TestNode('storage-4', ['storage'], answerText('')).record(await freePort()));
    expect(await json('/storage?node=*&x=1')).toEqual({
      'storage-0': { status: 200, body: 'storage-0 /storage?x=1' },
      'storage-1': { status: 200, body: 'storage-1 /storage?x=1' },
      'storage-2': { status: 500, body: { ok: [], failed: ['disk'] } },
      'storage-3': { status: 200, body: 'AP8=', encoding: 'base64' },
      'storage-4': { status: 502, body: 'the node cannot be reached' },
    });
  });

  test('of self is every node there is; of a subject, its role is asked about each', async () => {
    await start();
    expect(Object.keys((await json('/self?node=*')) as object)).toEqual(['profiling-0', 'storage-0', 'storage-1']);
    expect(await json('/about?node=*')).toEqual({
      'storage-0': { status: 200, body: 'profiling-0 /about?node=storage-0' },
      'storage-1': { status: 200, body: 'profiling-0 /about?node=storage-1' },
    });
  });

  test('is refused where the route acts on the cluster as a whole', async () => {
    await start();
    const answer = await fetch(gateway.url('/whole?node=*'), { method: 'POST' });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('node=* is not for this path');
  });

  test('gets the same body', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    for (const id of ['storage-0', 'storage-1']) {
      await gateway.addNode(id, async (request, response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        answerText(`${id} got ${Buffer.concat(chunks)}`)(request, response);
      });
    }
    expect(await json('/storage?node=*', { method: 'POST', body: 'this' })).toMatchObject({
      'storage-0': { body: 'storage-0 got this' },
      'storage-1': { body: 'storage-1 got this' },
    });
    const tooLong = await fetch(gateway.url('/storage?node=*'), { method: 'POST', body: 'x'.repeat(1_100_000) });
    expect(tooLong.status).toBe(413);
  });

  test('has its own deadline: one that does not answer costs the others nothing', async () => {
    const clock = new FakeClock();
    await start(clock);
    const slow = await gateway.addNode('storage-2', () => undefined);
    const answer = json('/storage?node=*');
    await waitUntil(() => slow.seen.length === 1);
    await clock.advance(1_000);
    expect(await answer).toMatchObject({ 'storage-0': { status: 200 }, 'storage-2': { status: 504, body: 'no answer within 1000 ms' } });
  });

  test('is not asked for more than fits into memory', async () => {
    await start();
    await gateway.addNode('storage-2', (_request, response) => void response.end('x'.repeat(answerBytesMax(3) + 1)));
    expect(await json('/storage?node=*')).toMatchObject({ 'storage-0': { status: 200 }, 'storage-2': { status: 502, body: expect.stringMatching(/more than 1048576 bytes/) } });
    expect(answerBytesMax(1_000) * 1_000).toBeLessThanOrEqual(32 * 1024 * 1024);
  });

  test('is left alone when the client has gone', async () => {
    await start();
    let isGone = false;
    const slow = await gateway.addNode('storage-2', (_request, response) => void response.once('close', () => (isGone = true)));
    const abort = new AbortController();
    const asked = fetch(gateway.url('/storage?node=*'), { signal: abort.signal }).catch(() => 'aborted');
    await waitUntil(() => slow.seen.length === 1);
    abort.abort();
    expect(await asked).toBe('aborted');
    await waitUntil(() => isGone);
  });
});

describe('a node that stops', () => {
  test('gets no new request and finishes those it has', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    let finish = (): void => undefined;
    const stopping = await gateway.addNode('storage-0', (request, response) => {
      finish = () => answerText('finished')(request, response);
    });
    const pending = get('/storage');
    await waitUntil(() => stopping.seen.length === 1);
    await gateway.addNode('storage-1', echoUrl('storage-1'));
    stopping.state = 'stopping';
    await gateway.register(stopping.record());
    for (let sent = 0; sent < 20; sent++) expect(await get('/storage')).toBe('200 storage-1 /storage');
    expect(stopping.seen).toHaveLength(1);
    finish();
    expect(await pending).toBe('200 finished');
  });

  test('and is the last one still serves: better than nobody', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    const stopping = await gateway.addNode('storage-0', echoUrl('storage-0'));
    stopping.state = 'stopping';
    await gateway.register(stopping.record());
    expect(await get('/storage')).toBe('200 storage-0 /storage');
  });
});

describe('the load', () => {
  test('goes to the node with fewer requests on their way', async () => {
    gateway = await GatewayUnderTest.start({ routes });
    const slow = await gateway.addNode('storage-0', () => undefined);
    const abort = new AbortController();
    const stuck = Array.from({ length: 5 }, () => fetch(gateway.url('/storage'), { signal: abort.signal }).catch(() => undefined));
    await waitUntil(() => slow.seen.length === 5);
    await gateway.addNode('storage-1', echoUrl('storage-1'));
    // The new node has its slow start; the old one is named by nobody but chance, at most nine times of ten.
    await waitUntil(async () => (await fetch(gateway.url('/storage'), { signal: AbortSignal.timeout(200) }).catch(() => undefined))?.status === 200);
    abort.abort();
    await Promise.all(stuck);
  });

  test('is shared evenly by equal nodes once their slow start is over', async () => {
    const clock = new FakeClock();
    await start(clock);
    await clock.advance(10_000);
    for (let sent = 0; sent < 400; sent++) await get('/storage');
    const counts = gateway.nodes.slice(0, 2).map((node) => node.seen.length);
    expect(Math.min(...counts)).toBeGreaterThan(140);
  });
});
