import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Profile } from 'pprof-format';
import { heapV2ToProfile } from '../src/heap-v2.js';
import { profilingMallocConf } from '../src/jemalloc.js';
import { needs, underJemalloc } from './under-jemalloc.js';

const heldBytes = 100_000_000;
const folder = mkdtempSync(join(tmpdir(), 'binnacle-native-'));
const rawPath = join(folder, 'raw.heap');
const goPath = ['/usr/bin/go', '/usr/local/go/bin/go'].find((path) => existsSync(path));

interface Dumped {
  raw: string;
  names: [address: string, name: string][];
  leftBehind: string[];
}

let dumped: Dumped;
let profile: Profile;

beforeAll(() => {
  // Small buffers first, so that the samples' sizes differ; what is freed again is not to be in the profile.
  dumped = underJemalloc<Dumped>(
    `import { readdirSync } from 'node:fs';
    const { requireProfilingJemalloc } = await load('jemalloc');
    const { dumpNativeHeap } = await load('native-heap');
    const { addressesOf } = await load('heap-v2');
    const { resolveSymbols } = await load('symbols');
    requireProfilingJemalloc().setProfActive(true);
    globalThis.held = [];
    for (let left = ${heldBytes}, size = 8192; left > 0; left -= size, size = size === 65536 ? 8192 : size * 2) held.push(Buffer.allocUnsafeSlow(size));
    for (let i = 0; i < 200; i++) Buffer.allocUnsafeSlow(1024 * 1024).buffer.transfer(0);
    const raw = (await dumpNativeHeap()).toString();
    const addresses = addressesOf(raw);
    const names = await resolveSymbols(addresses);
    const leftBehind = readdirSync(process.env.TMPDIR);
    console.log(JSON.stringify({ raw, names: addresses.map((address, index) => [String(address), names[index]]), leftBehind }));`,
    { mallocConf: profilingMallocConf, env: { TMPDIR: folder } },
  );
  writeFileSync(rawPath, dumped.raw);
  const names = new Map(dumped.names);
  profile = heapV2ToProfile(dumped.raw, (address) => names.get(String(address)) ?? '??');
});
afterAll(() => rmSync(folder, { recursive: true }));

const totalOf = (value: 0 | 1): number => profile.sample.reduce((sum, sample) => sum + Number(sample.value[value]), 0);

test('the native heap of a process that holds 100 MB is 100 MB within 10 %, and the dump leaves no file', () => {
  expect(totalOf(1)).toBeGreaterThan(heldBytes * 0.9);
  expect(totalOf(1)).toBeLessThan(heldBytes * 1.1);
  expect(dumped.leftBehind).toEqual([]);
});

test('jeprof reads the raw dump, and comes to the same total', () => {
  needs(existsSync('/usr/bin/jeprof'), 'libjemalloc-dev');
  const text = execFileSync('jeprof', ['--text', '--show_bytes', process.execPath, rawPath], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const total = Number(/^Total: (\d+) B$/m.exec(text)?.[1]);
  expect(Math.abs(total / totalOf(1) - 1)).toBeLessThan(0.01);
  expect(text).toContain('AllocateUninitialized');
});

test('go tool pprof names the function that holds it', () => {
  needs(goPath !== undefined, 'golang-go');
  const path = join(folder, 'native.pb.gz');
  writeFileSync(path, gzipSync(profile.encode()));
  const top = execFileSync(goPath ?? '', ['tool', 'pprof', '-top', '-unit=B', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: folder } });
  const [, flat = '', percent = ''] = /^ *(\d+)B +([\d.]+)% .*AllocateUninitialized/m.exec(top) ?? [];
  expect(top).toMatch(/^Type: inuse_space$/m);
  expect(Number(percent)).toBeGreaterThan(90);
  expect(Math.abs(Number(flat) / heldBytes - 1)).toBeLessThan(0.1);
});

test('the callers of the leaf have names too', () => {
  const named = dumped.names.filter(([, name]) => name !== '??').length;
  expect(named / dumped.names.length).toBeGreaterThan(0.8);
});

test('a dump before profiling is active is refused, and one onto a full disk says so and leaves nothing', () => {
  const full = underJemalloc<{ refusals: string[]; modes: number[] }>(
    `import { readdirSync, statSync } from 'node:fs';
    import { dirname } from 'node:path';
    const { requireProfilingJemalloc } = await load('jemalloc');
    const { dumpNativeHeap } = await load('native-heap');
    const jemalloc = requireProfilingJemalloc();
    const refusals = [], modes = [];
    const refused = (dump) => dump.catch((error) => refusals.push(error.name));
    await refused(dumpNativeHeap());
    jemalloc.setProfActive(true);
    const writesToFullDisk = { isProfActive: () => true, dump(path) { modes.push(statSync(path).mode & 0o777, statSync(dirname(path)).mode & 0o777); jemalloc.dump('/dev/full'); } };
    await refused(dumpNativeHeap(writesToFullDisk));
    refusals.push(...readdirSync(process.env.TMPDIR).filter((name) => name.startsWith('binnacle-heap-')));
    console.log(JSON.stringify({ refusals, modes }));`,
    { mallocConf: profilingMallocConf, env: { TMPDIR: folder } },
  );
  expect(full).toEqual({ refusals: ['NotActivated', 'OutOfDisk'], modes: [0o600, 0o700] });
});
