import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Jemalloc, jemallocPath, openJemalloc } from './jemalloc.js';

const library = '/usr/lib/x86_64-linux-gnu/libjemalloc.so.2';

/** Runs a script in a process of its own that has jemalloc in place of the C library's allocator. */
function underJemalloc(script: string): Record<string, Record<string, number>> {
  if (!existsSync(library)) throw new Error(`${library} is missing: apt-get install libjemalloc2`);
  const prelude = `const { openJemalloc } = await import(${JSON.stringify(new URL('../dist/jemalloc.js', import.meta.url).href)});`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', prelude + script], {
    env: { ...process.env, LD_PRELOAD: library },
    encoding: 'utf8',
    timeout: 20_000,
  });
  return JSON.parse(output) as Record<string, Record<string, number>>;
}

test('the statistics follow what the process allocates and frees', () => {
  const { before, during, after } = underJemalloc(`
    const jemalloc = openJemalloc();
    const before = jemalloc.statistics();
    let block = Buffer.allocUnsafeSlow(64 * 1024 * 1024).fill(1);
    const during = jemalloc.statistics();
    block.buffer.transfer(0);
    block = undefined;
    const after = jemalloc.statistics();
    console.log(JSON.stringify({ before, during, after }));`);
  const grown = (during?.allocated ?? 0) - (before?.allocated ?? 0);
  expect(grown).toBeGreaterThanOrEqual(64 * 1024 * 1024);
  expect(grown).toBeLessThan(72 * 1024 * 1024);
  expect(after?.allocated).toBeLessThan((before?.allocated ?? 0) + 8 * 1024 * 1024);
  expect(before?.active).toBeGreaterThanOrEqual(before?.allocated ?? 0);
  expect(before?.mapped).toBeGreaterThanOrEqual(before?.resident ?? 0);
  expect(before?.metadata).toBeGreaterThan(0);
  expect(before?.retained).toBeGreaterThanOrEqual(0);
});

test('without a preload there is no jemalloc, and that is no error', () => {
  expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('libjemalloc');
  expect(openJemalloc()).toBeUndefined();
});

test('the library is found by its path, version and links included', () => {
  const maps = '7f0-7f1 r-xp 00000000 08:01 42    /usr/lib/libc.so.6\n7f2-7f3 r-xp 00000000 08:01 43    /opt/je/libjemalloc.so.2.3\n';
  expect(jemallocPath(maps)).toBe('/opt/je/libjemalloc.so.2.3');
  expect(jemallocPath('7f0-7f1 r-xp 00000000 08:01 42    /usr/lib/libc.so.6\n')).toBeUndefined();
});

test('a build without statistics is an error that names what was asked', () => {
  const enoent = 2;
  const jemalloc = new Jemalloc({ mallctl: (name) => (name === 'epoch' ? 0 : enoent), errno: () => 0, printStatistics: () => undefined });
  expect(() => jemalloc.statistics()).toThrow('jemalloc refuses stats.allocated: error 2');
});
