import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ProfilingNode, TargetProcess } from './nodes.js';

let redis: RedisServer;
let p0: ProfilingNode;
let p1: ProfilingNode;
/** Runs on jemalloc with profiling compiled in. */
let target: TargetProcess;

beforeAll(async () => {
  const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
  if (library === undefined) throw new Error('libjemalloc.so.2 is missing: apt-get install libjemalloc2');
  redis = await startRedis();
  [p0, p1] = await Promise.all([ProfilingNode.start('p0', redis.url), ProfilingNode.start('p1', redis.url)]);
  const preload = { LD_PRELOAD: library, MALLOC_CONF: 'prof:true,prof_active:false,lg_prof_sample:19' };
  target = await TargetProcess.start('db', redis.url, p0, preload);
  await waitUntil(() => p1.context.directory.byId('db') && p1.context.directory.byId('p0') && p0.context.directory.byId('p1'));
});

afterAll(async () => {
  await target?.kill();
  await Promise.all([p0?.stop(), p1?.stop()]);
  await redis?.stop();
});

const said = (path: string, node = p0): Promise<[number, string]> => node.said(`/debug/pprof/${path}`);
const listed = async (node = p0): Promise<string[]> => (await said('heap_list?node=db', node))[1].split('\n').filter(Boolean);

test.each(['interval=0', 'interval=-1', 'interval=86401', 'interval=abc', 'interval=1.5', 'interval=1&interval=2'])('%s is refused', async (query) => {
  const [status, text] = await said(`heap_activate?node=db&${query}`);
  expect([status, text.startsWith('interval')]).toEqual([400, true]);
});

test('a node that is not active, one without jemalloc and one that does not exist are refused at once', async () => {
  const [status, text] = await said('heap_activate?node=db');
  expect([status, text]).toEqual([400, expect.stringContaining('set_prof_active')]);
  const [without, how] = await said('heap_activate');
  expect([without, how]).toEqual([503, expect.stringContaining('jemalloc')]);
  expect((await said('heap_activate?node=nobody'))[0]).toBe(404);
  expect(await said('heap_list?node=db')).toEqual([200, '']);
  expect(await said('heap_deactivate?node=db')).toEqual([200, 'no heap profile is running']);
});

test('dumps come each interval, past a CPU profile and past a restart of the profiling node, until any profiling node ends them', async () => {
  expect((await said('set_prof_active?node=db'))[0]).toBe(200);
  expect(await said('heap_activate?node=db&interval=1')).toEqual([200, 'activate heap profile success']);
  for (const node of [p0, p1]) expect(await said('heap_activate?node=db&interval=1', node)).toEqual([500, 'Already in Profiling']);
  expect((await p0.ask('/debug/pprof/profile?node=db&seconds=0.2')).status).toBe(200);
  await waitUntil(async () => (await listed()).length >= 2, { what: 'two dumps' });
  const [newest = ''] = await listed(p1);
  expect(newest).toMatch(/^\/.*\/00000\d\.heap\t\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  const [path = ''] = newest.split('\t');
  expect(readFileSync(path, 'utf8')).toMatch(/^heap_v2\/524288\n/);

  await p0.stop({ keepFolder: true });
  const before = globSync(`${dirname(path)}/*.heap`).length;
  p0 = await ProfilingNode.start('p0', redis.url, { folder: p0.folder });
  await waitUntil(async () => (await listed()).length > before, { what: 'a dump after the restart' });
  const numbers = (await listed()).map((line) => Number(/(\d{6})\.heap/.exec(line)?.[1]));
  expect(numbers).toEqual(Array.from(numbers, (_, at) => numbers.length - at));

  await waitUntil(() => p1.context.directory.byId('p0')?.state === 'running', { what: 'p1 knows that p0 is back' });
  expect(await said('heap_deactivate?node=db', p1)).toEqual([200, 'deactivate heap profile success']);
  expect(existsSync(dirname(path))).toBe(false);
  expect(await said('heap_deactivate?node=db', p1)).toEqual([200, 'no heap profile is running']);
});

test('of fifty activations at once one succeeds, and the next request works', async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => said('heap_activate?node=db&interval=3600')));
  expect(answers.filter(([status]) => status === 200)).toHaveLength(1);
  expect(new Set(answers.filter(([status]) => status !== 200).map(([status, text]) => `${status} ${text}`))).toEqual(new Set(['500 Already in Profiling']));
  expect(await said('heap_deactivate?node=db')).toEqual([200, 'deactivate heap profile success']);
});

test('a target that dies pauses its dumps, and they can be ended when it has left', async () => {
  expect((await said('heap_activate?node=db&interval=1'))[0]).toBe(200);
  await target.kill();
  await waitUntil(() => p0.context.directory.byId('db') === undefined, { what: 'db has left' });
  expect(await said('heap_deactivate?node=db')).toEqual([200, 'deactivate heap profile success']);
});
