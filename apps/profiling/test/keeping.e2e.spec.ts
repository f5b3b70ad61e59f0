import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SchedulerRegistry } from '@nestjs/schedule';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ContinuousProfiling } from '../src/continuous.js';
import { nodeRecord } from './fake-node.js';
import { ProfilingNode } from './nodes.js';

interface View {
  readonly id: string;
  readonly node: string;
  readonly kind: string;
  readonly origin: string;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly bytes: number;
}
interface List {
  readonly profiles: readonly View[];
  readonly unreachable: readonly string[];
}

let redis: RedisServer;
let p0: ProfilingNode;
let p1: ProfilingNode;
/** Two CPU profiles and a heap kept by p0, one CPU profile of p0 kept by p1. */
let first: string;
let second: string;
let heap: string;
let ofPeer: string;

beforeAll(async () => {
  redis = await startRedis();
  [p0, p1] = await Promise.all([ProfilingNode.start('p0', redis.url), ProfilingNode.start('p1', redis.url)]);
  await waitUntil(() => p0.context.directory.byId('p1')?.state === 'running' && p1.context.directory.byId('p0')?.state === 'running');
  first = await capture(p0, '/debug/pprof/profile?seconds=0.2');
  second = await capture(p0, '/debug/pprof/profile?seconds=0.2');
  heap = await capture(p0, '/debug/pprof/heap?source=v8&seconds=0.1&format=pprof');
  ofPeer = await capture(p1, '/debug/pprof/profile?seconds=0.2&node=p0');
});

afterAll(async () => {
  await Promise.all([p0?.stop(), p1?.stop()]);
  await redis?.stop();
});

/** The id of the profile that the request left. */
async function capture(node: ProfilingNode, path: string): Promise<string> {
  const response = await node.ask(path);
  await response.arrayBuffer();
  const id = response.headers.get('x-binnacle-profile');
  if (response.status !== 200 || id === null) throw new Error(`${path}: ${response.status}, ${id}`);
  return id;
}

const list = async (node: ProfilingNode, query = ''): Promise<List> => (await node.ask(`/api/v1/profiles${query}`, { dialect: 'binnacle' })).json() as Promise<List>;
const get = (path: string, node = p0, headers = {}): Promise<Response> => node.ask(`/api/v1/profiles${path.startsWith('?') ? '' : '/'}${path}`, { dialect: 'binnacle', headers });
const failure = async (path: string): Promise<unknown> => {
  const response = await get(path);
  return [response.status, ((await response.json()) as { error: { code: string } }).error.code];
};

/** What Go's own reader says of a profile as it was downloaded. */
async function goPprof(response: Response, form: '-top' | '-tags'): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-go-'));
  try {
    const file = join(folder, 'profile');
    writeFileSync(file, Buffer.from(await response.arrayBuffer()));
    const { stdout } = await promisify(execFile)('go', ['tool', 'pprof', form, file], { timeout: 120_000, env: { ...process.env, PPROF_TMPDIR: folder } });
    return stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('a list covers what all profiling nodes keep, newest first, whichever is asked', async () => {
  for (const node of [p0, p1]) {
    const { profiles, unreachable } = await list(node);
    expect(profiles.map(({ id }) => id)).toEqual([ofPeer, heap, second, first]);
    expect(unreachable).toEqual([]);
  }
  expect((await list(p1)).profiles.at(-1)).toMatchObject({ id: first, node: 'p0', kind: 'cpu', origin: 'requested', durationMs: 200 });
});

test('a list is filtered by node, kind, time and number', async () => {
  const ids = async (query: string) => (await list(p1, query)).profiles.map(({ id }) => id);
  expect(await ids('?kind=heap')).toEqual([heap]);
  expect(await ids('?node=p1')).toEqual([]);
  expect(await ids('?node=p0&kind=cpu&limit=2')).toEqual([ofPeer, second]);
  const { startedAt } = (await list(p0)).profiles.find(({ id }) => id === second) as View;
  expect(await ids(`?from=${startedAt}&to=${startedAt}`)).toEqual([second]);
  expect(await ids('?to=2020-01-01')).toEqual([]);
});

test.each(['kind=wall', 'limit=0', 'from=yesterday', 'node=..%2F', 'nodes=p0', 'kind=cpu&kind=heap'])('a list with %s is refused', async (query) => {
  expect(await failure(`?${query}`)).toEqual([400, 'BAD_REQUEST']);
});

test.each([
  ['cpu', () => first],
  ['that another node keeps', () => ofPeer],
])('a profile (%s) is downloaded as Go reads it', async (_, id) => {
  const response = await get(id());
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  expect(response.headers.get('content-disposition')).toBe(`attachment; filename="${id()}.pb.gz"`);
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  expect(await goPprof(response, '-top')).toContain('Type: cpu');
});

test('a profile is shown as flame graph, table and stacks', async () => {
  const svg = await get(`${first}/flame-graph`, p0, { accept: 'text/html' });
  expect([svg.headers.get('content-type'), svg.headers.get('content-disposition')?.split(';')[0]]).toEqual(['image/svg+xml', 'inline']);
  expect(svg.headers.get('content-security-policy')).toBeTruthy();
  expect(await svg.text()).toMatch(/<svg.*CPU, node p0, \d{4}-/s);
  const top = (await (await get(`${first}/top`)).json()) as { sampleType: { type: string }; rows: unknown[] };
  expect(top.sampleType.type).toBe('cpu');
  expect(await (await get(`${first}?format=top`)).json()).toEqual(top);
  expect((await get(`${first}?format=collapsed`)).headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(await (await get(`${first}?format=text`)).text()).toContain('flat%');
  expect(await failure(`${first}?format=pdf`)).toEqual([400, 'BAD_REQUEST']);
});

test('two profiles are compared as flame graph and as pprof, also of two keepers', async () => {
  expect(await (await get(`${first}/diff/${ofPeer}`)).text()).toContain('<svg');
  const pprof = await get(`${first}/diff/${second}?format=pprof`);
  expect(pprof.headers.get('content-type')).toBe('application/octet-stream');
  expect(await goPprof(pprof, '-top')).toContain('Type: cpu');
});

test('profiles of two kinds cannot be compared, and the answer says why', async () => {
  const response = await get(`${first}/diff/${heap}`);
  expect(response.status).toBe(400);
  expect(await response.text()).toContain('only profiles of one kind can be compared: these are cpu and heap');
});

test('what a node did over a while is one profile', async () => {
  const response = await get('merged?node=p0&format=pprof', p1);
  expect([response.status, response.headers.get('x-binnacle-merged-profiles')]).toEqual([200, '3']);
  expect(await goPprof(response, '-tags')).toMatch(/node: Total.*\n.*p0/);
  expect(await (await get('merged')).text()).toContain('<svg');
  expect(await failure('merged?to=2020-01-01')).toEqual([404, 'NOT_FOUND']);
  expect(await failure('merged?limit=7')).toEqual([400, 'BAD_REQUEST']);
});

test.each(['..%2F..%2Fetc%2Fpasswd', 'p0~..%2F..%2Fetc%2Fpasswd', 'x'.repeat(1_000), 'p0~20260101T000000000Z-00000000', 'gone~20260101T000000000Z-00000000', '%00', '~'])(
  'an id like %j is not found',
  async (id) => {
    for (const path of [id, `${id}/top`, `${id}/flame-graph`, `${first}/diff/${id}`]) expect(await failure(path)).toEqual([404, 'NOT_FOUND']);
  },
);

test('the profile of an id longer than any is no route', async () => {
  expect((await get('x'.repeat(10_000))).status).toBe(414);
});

test('a restart finds everything again; a keeper that is away is named, and its profiles are back with it', async () => {
  await p0.stop({ keepFolder: true });
  await waitUntil(() => p1.context.directory.byId('p0') === undefined, { what: 'p0 has left' });
  expect((await list(p1)).profiles.map(({ id }) => id)).toEqual([ofPeer]);
  const missing = await get(first, p1);
  expect([missing.status, await missing.text()]).toEqual([404, expect.stringContaining('the profiling node p0 keeps it, and is not registered')]);
  p0 = await ProfilingNode.start('p0', redis.url, { folder: p0.folder });
  await waitUntil(() => p1.context.directory.byId('p0')?.state === 'running', { what: 'p0 is back' });
  expect((await list(p1)).profiles.map(({ id }) => id)).toEqual([ofPeer, heap, second, first]);
  expect((await get(first, p1)).status).toBe(200);
});

test('a keeper that is registered and does not answer is named in lists, and an id of its is no 404', async () => {
  await p0.context.state.heartbeat(nodeRecord('p9', { roles: ['profiling'] }), 60_000);
  await waitUntil(() => p0.context.directory.byId('p9') !== undefined, { what: 'p0 knows p9' });
  expect((await list(p0)).unreachable).toEqual(['p9']);
  expect(await failure('p9~20260101T000000000Z-00000000')).toEqual([502, 'UPSTREAM_UNREACHABLE']);
  expect((await get('merged?node=p0')).headers.get('x-binnacle-failed-nodes')).toBe('p9');
  await p0.context.state.deregister('p9', 'i');
});

const withSmallDisk = canMount ? test : test.skip;

withSmallDisk('a client gets its profile also when the disk is full, and the next one is kept again', async () => {
  const kept = join(p1.folder, 'profiles', 'node-p1');
  const disk = new SmallDisk(kept, 4);
  try {
    writeFileSync(join(kept, 'all-there-is'), Buffer.alloc(4_096));
    const response = await p1.ask('/debug/pprof/profile?seconds=0.2&format=pprof');
    expect([response.status, response.headers.get('x-binnacle-profile')]).toEqual([200, null]);
    expect(await goPprof(response, '-top')).toContain('Type: cpu');
    expect(readdirSync(kept)).toEqual(['all-there-is']);
  } finally {
    disk.unmount();
  }
  const id = await capture(p1, '/debug/pprof/profile?seconds=0.2&format=pprof');
  expect((await get(id)).status).toBe(200);
});

test('continuous profiling keeps what its owner captured', async () => {
  const node = await ProfilingNode.start('c0', '', { change: (config) => (config.profiling.continuous = true) });
  try {
    await waitUntil(() => node.context.candidacies.get('continuous-profiling')?.isOwner());
    expect(node.running.app.get(SchedulerRegistry).getCronJob('continuous-profiling').cronTime.source).toBe('0 * * * * *');
    // What it calls at the full minute.
    await node.running.app.get(ContinuousProfiling).everyMinute();
    expect((await list(node)).profiles).toMatchObject([{ node: 'c0', kind: 'cpu', origin: 'continuous', durationMs: 10_000 }]);
    expect(readdirSync(join(node.folder, 'profiles', 'node-c0'))).toHaveLength(1);
  } finally {
    await node.stop();
  }
});
