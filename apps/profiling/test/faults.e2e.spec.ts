import { globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeProfile } from '@binnacle/profiler/profile';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ProfilingNode, TargetProcess } from './nodes.js';

let redis: RedisServer;
let node: ProfilingNode;

const go = { dialect: 'gostatsd' } as const;

/** jemalloc in place of the C library's allocator, with its profiling on offer, as the launcher starts a node; it samples so often that a moment's dump is never empty. */
function withJemalloc(): Record<string, string> {
  const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
  if (library === undefined) throw new Error('apt-get install libjemalloc2');
  return { LD_PRELOAD: library, MALLOC_CONF: 'prof:true,prof_active:false,lg_prof_sample:12' };
}

beforeAll(async () => {
  redis = await startRedis();
  node = await ProfilingNode.start('p0', redis.url);
  await TargetProcess.start('n1', redis.url, node, withJemalloc());
});

afterAll(async () => {
  await TargetProcess.killAll();
  await node?.stop();
  await redis?.stop();
});

const profile = (seconds: number, more = ''): string => `/debug/pprof/profile?format=pprof&node=n1&seconds=${seconds}${more}`;
const goProfile = (seconds: number, more = ''): string => `/go/pprof/profile?node=n1&seconds=${seconds}${more}`;

/** The next request works: at once, as far as the client can tell. */
async function works(): Promise<void> {
  await waitUntil(async () => (await node.ask(profile(0.1))).status === 200, { what: 'a profile of n1' });
  expect((await node.ask(goProfile(0.1), go)).status).toBe(200);
}

const untilBusy = (): Promise<boolean> => waitUntil(async () => (await node.ask(profile(0.1))).status === 500, { what: 'a profile to run' });

describe('one target', () => {
  test('is profiled in its own process', async () => {
    const [status, text] = await node.said('/debug/pprof/cmdline?node=n1');
    expect([status, text.split('\0')]).toEqual([200, [process.execPath, expect.stringMatching(/dist\/main\.js$/)]]);
    await works();
  });

  test('a second profile while one runs: TiFlash says so, gostatsd waits', async () => {
    const first = node.ask(profile(3));
    await untilBusy();
    expect(await node.said('/debug/pprof/profile?seconds=0.1&node=n1')).toEqual([500, 'Already in Profiling']);
    const waits = node.ask(goProfile(0.1), go);
    expect((await first).status).toBe(200);
    expect((await waits).status).toBe(200);
    await works();
  });

  test('of fifty at once TiFlash takes one', async () => {
    const statuses = await Promise.all(Array.from({ length: 50 }, async () => (await node.ask(profile(3))).status));
    expect(statuses.sort()).toEqual([200, ...Array(49).fill(500)]);
    await works();
  });

  test('of fifty at once gostatsd takes one, has eight wait, and tells the others when to come again', async () => {
    const responses = await Promise.all(Array.from({ length: 50 }, () => node.ask(goProfile(1), go)));
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(9);
    const refused = responses.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(41);
    expect(refused[0]?.headers.get('retry-after')).toBe('10');
    await works();
  });

  test('a client that hangs up ends its capture, and who waits gets its turn', async () => {
    const client = new AbortController();
    const abandoned = node.ask(profile(600), { signal: client.signal }).catch(() => 'gone');
    await untilBusy();
    const leaves = new AbortController();
    const left = node.ask(goProfile(600), { ...go, signal: leaves.signal }).catch(() => 'gone');
    const waits = node.ask(goProfile(0.1), go);
    leaves.abort();
    client.abort();
    expect([await abandoned, await left]).toEqual(['gone', 'gone']);
    expect((await waits).status).toBe(200);
    await works();
  });

  test('is captured by somebody else: TiFlash says so, gostatsd waits', async () => {
    const other = await ProfilingNode.start('p1', redis.url);
    await waitUntil(() => other.context.directory.byId('n1') !== undefined, { what: 'p1 to know n1' });
    const first = other.ask(goProfile(4), go);
    await waitUntil(async () => (await other.ask(profile(0.1))).status === 500, { what: 'p1 to capture n1' });
    expect(await node.said('/debug/pprof/profile?seconds=0.1&node=n1')).toEqual([500, 'Already in Profiling']);
    expect((await node.ask(goProfile(0.1), go)).status).toBe(200);
    expect((await first).status).toBe(200);
    await other.stop();
    await works();
  });
});

describe('the native heap', () => {
  test('is dumped after set_prof_active and not before, raw, as text and as pprof with names', async () => {
    expect(await node.said('/debug/pprof/heap?node=n1')).toEqual([400, expect.stringContaining('set_prof_active')]);
    expect(await node.said('/debug/pprof/set_prof_active?node=n1')).toEqual([200, 'set prof.active succeed']);
    await node.ask(profile(0.2)); // Something to allocate for.
    const raw = await node.ask('/debug/pprof/heap?node=n1');
    expect(Object.fromEntries(raw.headers)).toMatchObject({ 'content-type': 'application/octet-stream', 'content-disposition': 'attachment; filename="profile"' });
    expect(await raw.text()).toMatch(/^heap_v2\/4096\n/);
    const pprof = await node.ask('/debug/pprof/heap?node=n1&format=pprof');
    expect(pprof.headers.get('x-binnacle-profile')).toMatch(/^p0~/);
    const decoded = decodeProfile(new Uint8Array(await pprof.arrayBuffer()));
    const { strings } = decoded.stringTable;
    expect(decoded.sampleType.map(({ type }) => strings[Number(type)])).toEqual(['inuse_objects', 'inuse_space']);
    expect(decoded.function.map(({ name }) => strings[Number(name)]).filter((name) => name?.startsWith('_ZN'))).not.toEqual([]);
    for (const [text, pattern] of [['svg', /<svg/], ['text', /flat%/], ['collapsed', /;.* \d+\n/], ['raw', /^heap_v2/], ['nonsense', /<svg/]] as const) {
      expect(await node.said(`/debug/pprof/heap?node=n1&jeprof=true&text=${text}`)).toEqual([200, expect.stringMatching(pattern)]);
    }
    expect(await node.said('/debug/pprof/set_prof_inactive?node=n1')).toEqual([200, 'set prof.active succeed']);
    expect((await node.said('/debug/pprof/heap?node=n1'))[0]).toBe(400);
  });

  test('is no obstacle to a CPU profile, nor the other way round', async () => {
    await node.ask('/debug/pprof/set_prof_active?node=n1');
    const cpu = node.ask(profile(1));
    await untilBusy();
    expect((await node.ask('/debug/pprof/heap?node=n1')).status).toBe(200);
    expect((await cpu).status).toBe(200);
  });

  test('is purged, and its statistics are JSON', async () => {
    const response = await node.ask('/debug/pprof/arena_purge?node=n1');
    expect(await response.text()).toBe('purge OK');
    const bytes = (name: string): number => Number(response.headers.get(`x-binnacle-${name}-bytes`));
    expect(bytes('resident-before')).toBeGreaterThan(1e7);
    expect(bytes('released')).toBe(Math.max(0, bytes('resident-before') - bytes('resident-after')));
    expect(await (await node.ask('/debug/pprof/memory_status?node=n1')).json()).toHaveProperty('jemalloc.version');
  });
});

describe('a target that goes', () => {
  test('killed during the profile: the client hears of it at once', async () => {
    const victim = await TargetProcess.start('n2', redis.url, node);
    const capture = node.said('/debug/pprof/profile?seconds=60&node=n2');
    await waitUntil(async () => (await node.ask('/debug/pprof/profile?seconds=0.1&node=n2')).status === 500, { what: 'the profile to run' });
    const killedAt = performance.now();
    await victim.kill();
    expect(await capture).toEqual([502, expect.stringContaining('n2')]);
    expect(performance.now() - killedAt).toBeLessThan(10_000);
    await works();
  });

  test('stopped by SIGSTOP during the profile: given up after the time of the capture and 15 s, and the queue goes on', async () => {
    const victim = await TargetProcess.start('n4', redis.url, node);
    const capture = node.said('/debug/pprof/profile?seconds=4&node=n4');
    await waitUntil(async () => (await node.ask('/debug/pprof/profile?seconds=0.1&node=n4')).status === 500, { what: 'the profile to run' });
    victim.signal('SIGSTOP');
    const meanwhile = works();
    const waits = node.said('/go/pprof/profile?seconds=0.1&node=n4', go);
    expect(await capture).toEqual([504, expect.stringContaining('n4')]);
    await meanwhile;
    victim.signal('SIGCONT');
    // By now the registry has forgotten it, or knows it again.
    expect((await waits)[0]).not.toBe(504);
    await waitUntil(async () => (await node.ask('/debug/pprof/profile?seconds=0.1&node=n4')).status === 200, { what: 'a profile of n4 again' });
    await victim.kill();
  });
});

describe('a full disk', () => {
  (canMount ? test : test.skip)('while dumping is said to be one, and the next dump works', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'binnacle-full-'));
    const disk = new SmallDisk(folder, 64);
    const victim = await TargetProcess.start('n3', redis.url, node, { ...withJemalloc(), TMPDIR: folder });
    try {
      await node.ask('/debug/pprof/set_prof_active?node=n3');
      await node.ask('/debug/pprof/profile?seconds=0.2&node=n3');
      const full = join(folder, 'full');
      writeFileSync(full, Buffer.alloc(60 * 1024));
      expect(await node.said('/debug/pprof/heap?node=n3')).toEqual([507, expect.stringContaining('no space left')]);
      rmSync(full);
      disk.enlarge(8 * 1024);
      expect(await node.said('/debug/pprof/heap?node=n3')).toEqual([200, expect.stringContaining('heap_v2')]);
    } finally {
      await victim.kill();
      disk.unmount();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('every node at once', () => {
  test('is one profile with the node on every sample; a node that fails is named', async () => {
    const victim = await TargetProcess.start('n5', redis.url, node);
    await waitUntil(() => node.context.directory.all().length === 3, { what: 'the nodes of other tests to be forgotten' });
    const nodesIn = async (response: Response): Promise<{ nodes: string[]; comments: string[] }> => {
      const { sample, stringTable, comment } = decodeProfile(new Uint8Array(await response.arrayBuffer()));
      const text = (index: number | bigint): string => stringTable.strings[Number(index)] ?? '';
      const labels = sample.map(({ label }) => label.flatMap(({ key, str }) => (text(key) === 'node' ? [text(str)] : [])));
      expect(labels.every(({ length }) => length === 1)).toBe(true);
      return { nodes: [...new Set(labels.flat())].sort(), comments: comment.map(text) };
    };
    const whole = await node.ask('/debug/pprof/profile?seconds=0.5&node=*&format=pprof');
    expect([whole.status, whole.headers.get('x-binnacle-failed-nodes')]).toEqual([200, null]);
    expect(await nodesIn(whole)).toEqual({ nodes: ['n1', 'n5', 'p0'], comments: [] });

    const capture = node.ask('/go/pprof/profile?seconds=5&node=*', go);
    await waitUntil(async () => (await node.ask('/debug/pprof/profile?seconds=0.1&node=n5')).status === 500, { what: 'the profile to run' });
    await victim.kill();
    const partial = await capture;
    expect([partial.status, partial.headers.get('x-binnacle-failed-nodes')]).toEqual([200, 'n5']);
    expect(await nodesIn(partial)).toEqual({ nodes: ['n1', 'p0'], comments: [expect.stringMatching(/^node n5 is not in it: .*n5/)] });

    const heaps = await node.ask('/go/pprof/heap?seconds=0.2&node=*', go);
    expect((await nodesIn(heaps)).nodes).toContain('n1');
    expect(await node.said('/debug/pprof/profile?seconds=601&node=*')).toEqual([400, expect.stringContaining('600')]);
  });

  test('of which none can be captured is an error that says why', async () => {
    await node.ask('/debug/pprof/set_prof_inactive?node=n1');
    expect(await node.said('/debug/pprof/heap?source=v8&node=*')).toEqual([400, expect.stringMatching(/no node could be captured: .*n1.*p0/)]);
  });
});
