import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { underJemalloc } from '../test/under-jemalloc.js';
import { CapabilityMissing, OutOfDisk } from './capture-errors.js';
import { Jemalloc, type JemallocLibrary, type JemallocStatistics, jemallocPath, keepJemallocFromChildren, openJemalloc, profilingMallocConf, requireProfilingJemalloc } from './jemalloc.js';

const enoent = constants.errno.ENOENT;
const libraryWith = (parts: Partial<JemallocLibrary>): Jemalloc =>
  new Jemalloc({ mallctl: () => 0, errno: () => 0, printStatistics: () => undefined, ...parts });

test('the statistics follow what the process allocates and frees', () => {
  const { before, during, after } = underJemalloc<Record<'before' | 'during' | 'after', JemallocStatistics>>(`
    const jemalloc = (await load('jemalloc')).openJemalloc();
    const before = jemalloc.statistics();
    let block = Buffer.allocUnsafeSlow(64 * 1024 * 1024).fill(1);
    const during = jemalloc.statistics();
    block.buffer.transfer(0);
    block = undefined;
    const after = jemalloc.statistics();
    console.log(JSON.stringify({ before, during, after }));`);
  const grown = during.allocated - before.allocated;
  expect(grown).toBeGreaterThanOrEqual(64 * 1024 * 1024);
  expect(grown).toBeLessThan(72 * 1024 * 1024);
  expect(after.allocated).toBeLessThan(before.allocated + 8 * 1024 * 1024);
  expect(before.active).toBeGreaterThanOrEqual(before.allocated);
  expect(before.mapped).toBeGreaterThanOrEqual(before.resident);
  expect(before.metadata).toBeGreaterThan(0);
  expect(before.retained).toBeGreaterThanOrEqual(0);
});

test('everything it tells of itself is JSON, and of this moment', () => {
  const [before, after] = underJemalloc<number[]>(`
    const jemalloc = (await load('jemalloc')).openJemalloc();
    const allocated = () => JSON.parse(jemalloc.statisticsJson()).jemalloc.stats.allocated;
    const before = allocated();
    globalThis.block = Buffer.allocUnsafeSlow(64 * 1024 * 1024);
    console.log(JSON.stringify([before, allocated()]));`);
  expect((after ?? 0) - (before ?? 0)).toBeGreaterThanOrEqual(64 * 1024 * 1024);
});

test('statistics without end are cut off with an error, and not kept', () => {
  const piece = 'x'.repeat(1024 * 1024);
  const jemalloc = libraryWith({ printStatistics: (write) => Array.from({ length: 33 }, () => write(piece)) });
  expect(() => jemalloc.statisticsJson()).toThrow('larger than');
});

test('heap profiling is off at the start, and is switched on and off', () => {
  const states = underJemalloc(
    `const jemalloc = (await load('jemalloc')).requireProfilingJemalloc();
    const states = [jemalloc.isProfActive()];
    for (const active of [true, false]) { jemalloc.setProfActive(active); states.push(jemalloc.isProfActive()); }
    console.log(JSON.stringify(states));`,
    { mallocConf: profilingMallocConf },
  );
  expect(states).toEqual([false, true, false]);
});

test('a jemalloc that was started without profiling says what to start it with', () => {
  const refusal = underJemalloc(`
    const { requireProfilingJemalloc } = await load('jemalloc');
    try { requireProfilingJemalloc(); } catch (error) { console.log(JSON.stringify([error.name, error.message])); }`);
  expect(refusal).toEqual(['CapabilityMissing', expect.stringContaining(`MALLOC_CONF=${profilingMallocConf}`)]);
  const builtWithout = libraryWith({ mallctl: () => enoent });
  expect(() => requireProfilingJemalloc(builtWithout)).toThrow(CapabilityMissing);
});

test('without a preload there is no jemalloc, and what needs it says how to get it', () => {
  expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('libjemalloc');
  expect(openJemalloc()).toBeUndefined();
  expect(() => requireProfilingJemalloc()).toThrow(CapabilityMissing);
  expect(() => requireProfilingJemalloc()).toThrow('`apt-get install libjemalloc2`');
  expect(() => requireProfilingJemalloc(undefined, 'darwin')).toThrow('works on Linux only, and this is darwin');
});

test('the library is found by its path, version and links included', () => {
  const maps = '7f0-7f1 r-xp 00000000 08:01 42    /usr/lib/libc.so.6\n7f2-7f3 r-xp 00000000 08:01 43    /opt/je/libjemalloc.so.2.3\n';
  expect(jemallocPath(maps)).toBe('/opt/je/libjemalloc.so.2.3');
  expect(jemallocPath('7f0-7f1 r-xp 00000000 08:01 42    /usr/lib/libc.so.6\n')).toBeUndefined();
});

test('a build without statistics is an error that names what was asked', () => {
  const jemalloc = libraryWith({ mallctl: (name) => (name === 'epoch' ? 0 : enoent) });
  expect(() => jemalloc.statistics()).toThrow('jemalloc refuses stats.allocated: error 2');
});

test('a dump onto a full disk is another error than one into a folder that is not there', () => {
  const names = underJemalloc(
    `const jemalloc = (await load('jemalloc')).requireProfilingJemalloc();
    const nameOf = (path) => { try { jemalloc.dump(path); } catch (error) { return error.name + ': ' + error.message; } };
    console.log(JSON.stringify(['/dev/full', '/nonexistent/dump'].map(nameOf)));`,
    { mallocConf: profilingMallocConf },
  );
  expect(names).toEqual([
    'OutOfDisk: no space left on the disk for /dev/full',
    'Error: jemalloc could not dump its heap to /nonexistent/dump: error 14, errno 2',
  ]);
  const overQuota = libraryWith({ mallctl: () => constants.errno.EFAULT, errno: () => constants.errno.EDQUOT });
  expect(() => overQuota.dump('/x')).toThrow(OutOfDisk);
});

test('children inherit neither jemalloc nor its settings, and keep what else is preloaded', () => {
  const environment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => (keepJemallocFromChildren(env), env);
  const conf = { MALLOC_CONF: profilingMallocConf };
  expect(environment({ A: '1', LD_PRELOAD: '/usr/lib/libjemalloc.so.2', ...conf })).toEqual({ A: '1' });
  expect(environment({ LD_PRELOAD: '/a/libx.so:/usr/lib/libjemalloc.so.2 /b/liby.so', ...conf })).toEqual({ LD_PRELOAD: '/a/libx.so:/b/liby.so' });
  expect(environment({ LD_PRELOAD: '/a/libx.so:/b/liby.so', ...conf })).toEqual({ LD_PRELOAD: '/a/libx.so:/b/liby.so', ...conf });
  expect(environment(conf)).toEqual(conf);
  const seen = underJemalloc<string[]>(
    `import { execFileSync } from 'node:child_process';
    const { keepJemallocFromChildren, openJemalloc } = await load('jemalloc');
    keepJemallocFromChildren();
    const env = execFileSync('env', { encoding: 'utf8' }).split('\\n').filter((line) => /^(LD_PRELOAD|MALLOC_CONF)=/.test(line));
    console.log(JSON.stringify([String(openJemalloc().canProfile()), ...env]));`,
    { mallocConf: profilingMallocConf },
  );
  expect(seen).toEqual(['true']);
});
