import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { BinnacleError } from '@binnacle/contracts/errors';
import { canMount, SmallDisk } from '@binnacle/testing/small-disk';
import { waitUntil } from '@binnacle/testing/wait-until';
import { FakeNode } from '../test/fake-node.js';
import type { Captures } from './captures.js';
import { HeapDumps } from './heap-dumps.js';
import type { ProfilingPeers } from './profiling-peers.js';

const minuteMs = 60_000;
let node: FakeNode;
let dumps: HeapDumps;
/** What the next captures give. */
let dump: () => Promise<Buffer>;
let captured: string[];

beforeEach(async () => {
  node = new FakeNode();
  captured = [];
  dump = async () => Buffer.from('heap_v2/524288\n');
  dumps = await open();
});
afterEach(async () => {
  await dumps.stop();
  expect(node.clock.timerCount()).toBe(0);
  node.remove();
});

async function open(peers: object = { ask: async () => ({ bodies: [], away: [] }) }): Promise<HeapDumps> {
  const captures = { nativeHeapDump: (target: string) => (captured.push(target), dump()) };
  const opened = new HeapDumps(node.context, captures as unknown as Captures, peers as ProfilingPeers);
  await opened.start();
  return opened;
}

const folder = (target = 'db'): string => join(node.config.dataDir, 'heap-dumps', 'node-p0', `node-${target}`);
const activate = (target = 'db', intervalS = 60): Promise<void> => dumps.activate(target, intervalS, new AbortController().signal);
const names = async (target = 'db'): Promise<string[]> => (await dumps.list(target)).dumps.map(({ path }) => basename(path));
/** Time goes by, and the dumps that are due are taken: each series waits for its next one again then. */
async function pass(ms: number): Promise<void> {
  const timers = node.clock.timerCount();
  await node.clock.advance(ms);
  await waitUntil(() => node.clock.timerCount() === timers, { intervalMs: 1 });
}
const refusing = (code: 'BAD_REQUEST' | 'UPSTREAM_UNREACHABLE', message: string) => async (): Promise<Buffer> => {
  throw new BinnacleError(code, message);
};

test('a dump is taken after each interval, and listed newest first', async () => {
  await activate();
  expect(await names()).toEqual([]);
  await pass(minuteMs);
  await pass(minuteMs);
  expect(await names()).toEqual(['000002.heap', '000001.heap']);
  const [{ path, takenAtMs, bytes }] = (await dumps.list('db')).dumps as [{ path: string; takenAtMs: number; bytes: number }];
  expect(isAbsolute(path)).toBe(true);
  expect(readFileSync(path, 'utf8')).toBe('heap_v2/524288\n');
  expect([takenAtMs, bytes]).toEqual([node.clock.nowMs(), 15]);
});

test('a second activation is refused in the words of TiFlash, a second node is not', async () => {
  await activate();
  await expect(activate()).rejects.toMatchObject({ code: 'ALREADY_PROFILING', message: 'Already in Profiling' });
  await activate('other');
});

test('of fifty activations at once one comes through', async () => {
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => activate()));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('a node whose heap cannot be dumped is refused at once, and leaves nothing behind', async () => {
  dump = refusing('BAD_REQUEST', 'node db: not active: GET /debug/pprof/set_prof_active first');
  await expect(activate()).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(existsSync(folder())).toBe(false);
  dump = async () => Buffer.from('heap');
  await activate();
});

test('deactivation deletes the folder; without a series there is nothing to do', async () => {
  await activate();
  await pass(minuteMs);
  expect(await dumps.deactivate('db')).toBe(true);
  expect(existsSync(folder())).toBe(false);
  expect(await dumps.deactivate('db')).toBe(false);
  expect(await names()).toEqual([]);
  await pass(10 * minuteMs);
  expect(captured).toHaveLength(2);
});

test('a dump under way when it is deactivated is not written', async () => {
  await activate();
  let finish = (_: Buffer): void => {};
  dump = () => new Promise((resolve) => (finish = resolve));
  await node.clock.advance(minuteMs);
  const deactivated = dumps.deactivate('db');
  finish(Buffer.from('late'));
  expect(await deactivated).toBe(true);
  expect(existsSync(folder())).toBe(false);
});

test('a restart goes on: same dumps, next number, and the interval counts from the last dump', async () => {
  await activate('db', 600);
  await pass(10 * minuteMs);
  await dumps.stop();
  writeFileSync(join(folder(), '000002.heap.unfinished'), 'half');
  node.clock.freezeFor(7 * minuteMs);
  dumps = await open();
  expect(await names()).toEqual(['000001.heap']);
  expect(readdirSync(folder()).sort()).toEqual(['000001.heap', 'series.json']);
  await pass(2 * minuteMs);
  expect(await names()).toEqual(['000001.heap']);
  await pass(minuteMs);
  expect(await names()).toEqual(['000002.heap', '000001.heap']);
  await expect(activate()).rejects.toMatchObject({ code: 'ALREADY_PROFILING' });
});

test('a folder whose creation or deletion was cut short is removed at the start', async () => {
  mkdirSync(folder('half'), { recursive: true });
  writeFileSync(join(folder('half'), '000001.heap'), 'left');
  dumps = await open();
  expect(existsSync(folder('half'))).toBe(false);
  expect(await names('half')).toEqual([]);
});

test('over the number the oldest go, and the log says so', async () => {
  node.config.profiling.heapDumpsMax = 2;
  await activate();
  for (let at = 0; at < 4; at++) await pass(minuteMs);
  expect(await names()).toEqual(['000004.heap', '000003.heap']);
  expect(readdirSync(folder()).sort()).toEqual(['000003.heap', '000004.heap', 'series.json']);
  expect(node.messages().filter((message) => message.includes('the oldest go')).length).toBeGreaterThanOrEqual(1);
});

test('over the bytes the oldest of all nodes go', async () => {
  node.config.profiling.heapDumpsMegabytesMax = 1;
  dump = async () => Buffer.alloc(400_000);
  await activate('first');
  await pass(30_000);
  await activate('second');
  await pass(30_000);
  await pass(30_000);
  await pass(30_000);
  expect([await names('first'), await names('second')]).toEqual([['000002.heap'], ['000001.heap']]);
});

test('a node that is away or not active any more pauses its dumps, with one log line, until it is back', async () => {
  await activate();
  dump = refusing('UPSTREAM_UNREACHABLE', 'node db cannot be asked: ECONNREFUSED');
  await pass(minuteMs);
  await pass(minuteMs);
  dump = async () => Buffer.from('heap');
  await pass(minuteMs);
  expect(node.messages()).toEqual(['periodic heap dumps pause', 'periodic heap dumps go on']);
  expect(node.logged[0]).toMatchObject({ target: 'db', reason: 'node db cannot be asked: ECONNREFUSED' });
  expect(await names()).toEqual(['000001.heap']);
});

test('a disk that is nearly full gets no dump', async () => {
  await activate();
  node.resourceError = 'OUT_OF_DISK';
  await pass(minuteMs);
  expect(await names()).toEqual([]);
  expect(node.logged).toMatchObject([{ reason: 'the disk of the profiling node is nearly full' }]);
});

const withSmallDisk = canMount ? test : test.skip;

withSmallDisk('a disk that is full gets no half dump; the next one that fits is written', async () => {
  await activate();
  const disk = new SmallDisk(folder(), 64);
  try {
    dump = async () => Buffer.alloc(100_000);
    await pass(minuteMs);
    expect(readdirSync(folder())).toEqual([]);
    expect(node.messages()).toEqual(['periodic heap dumps pause']);
    dump = async () => Buffer.from('heap');
    await pass(minuteMs);
    expect(await names()).toEqual(['000001.heap']);
    await dumps.stop();
  } finally {
    disk.unmount();
  }
});

test('a hostile name stays in its folder', async () => {
  await activate('..');
  await pass(minuteMs);
  expect(await dumps.deactivate('..')).toBe(true);
  expect(existsSync(join(node.config.dataDir, 'heap-dumps', 'node-p0'))).toBe(true);
});

test('a series that another profiling node has is found, listed and ended there', async () => {
  const other = { path: '/other/000007.heap', takenAtMs: node.clock.nowMs() + 90_000, bytes: 1 };
  const asked: string[] = [];
  const ask = async ({ method, path }: { method: string; path: string }) => {
    asked.push(`${method} ${path}`);
    return { bodies: [method === 'DELETE' ? { deactivated: true } : { isActive: path.endsWith('/elsewhere'), dumps: [other] }], away: [] };
  };
  dumps = await open({ ask });
  await expect(activate('elsewhere')).rejects.toMatchObject({ code: 'ALREADY_PROFILING' });
  await activate();
  await pass(minuteMs);
  expect(await names()).toEqual(['000007.heap', '000001.heap']);
  expect(await dumps.deactivate('elsewhere')).toBe(true);
  expect(asked.at(-1)).toBe('DELETE /agent/v1/heap-dumps/elsewhere');
});

test('a profiling node that is away may have the series: nobody is told that there is none', async () => {
  dumps = await open({ ask: async () => ({ bodies: [], away: ['p1'] }) });
  expect(await dumps.list('db')).toEqual({ dumps: [], away: ['p1'] });
  await expect(dumps.deactivate('db')).rejects.toMatchObject({ code: 'UPSTREAM_UNREACHABLE' });
});
