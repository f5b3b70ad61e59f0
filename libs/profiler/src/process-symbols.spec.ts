import { afterAll, expect, test } from '@jest/globals';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { underJemalloc } from '../test/under-jemalloc.js';
import { mappedFiles, parsePerfMap, ProcessSymbols } from './process-symbols.js';

const folder = mkdtempSync(join(tmpdir(), 'binnacle-symbols-'));
afterAll(() => rmSync(folder, { recursive: true }));

const firstMapping = (pattern: RegExp): bigint => {
  const line = readFileSync('/proc/self/maps', 'utf8').split('\n').find((each) => pattern.test(each)) ?? '';
  return BigInt(`0x${line.split('-')[0]}`);
};

test('maps with spaces in paths, deleted files and what is no file are told apart', () => {
  const maps = [
    '00400000-00746000 r--p 00000000 fe:00 10035216                           /opt/my node/bin/node',
    '7f00-7f10 r-xp 00001000 fe:00 7    /tmp/lib.so (deleted)',
    '7f20-7f30 rw-p 00000000 00:00 0 ',
    '7ffd0-7ffe0 r-xp 00000000 00:00 0                                  [vdso]',
  ];
  expect(mappedFiles(maps.join('\n'))).toEqual([
    { start: 0x400000, end: 0x746000, fileOffset: 0, path: '/opt/my node/bin/node' },
    { start: 0x7f00, end: 0x7f10, fileOffset: 0x1000, path: '/tmp/lib.so (deleted)' },
  ]);
});

test('what has no name is ?? and keeps its place: nothing, no code, the kernel\'s part, addresses that cannot be', () => {
  const header = firstMapping(/ r--p 00000000 .*\/libc\.so/);
  const addresses = [0n, 1n, header, firstMapping(/\[vdso\]/) + 16n, firstMapping(/\[heap\]|\[stack\]/), (1n << 64n) - 1n, 1n << 53n];
  expect(new ProcessSymbols(undefined).resolve(addresses)).toEqual(addresses.map(() => '??'));
});

test('a library that was deleted or overwritten with rubbish after it was loaded leaves the others their names', () => {
  // koffi loads a library by its path; a copy of the C math library is one that nobody else uses.
  const math = readFileSync('/proc/self/maps', 'utf8').match(/ (\/\S*\/libm\.so\.6)$/m)?.[1] ?? '';
  const script = (spoil: string): string => `
    import { createRequire } from 'node:module';
    import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
    const koffi = createRequire(${JSON.stringify(import.meta.url)})('koffi');
    const path = process.env.COPY;
    const address = (library, name) => koffi.address(koffi.load(library).symbol(name));
    const addresses = [address(path, 'cbrt') + 1n, address('libc.so.6', 'malloc') + 1n];
    const { ProcessSymbols } = await load('process-symbols');
    const before = new ProcessSymbols(undefined).resolve(addresses);
    ${spoil}
    console.log(JSON.stringify([before, new ProcessSymbols(undefined).resolve(addresses)]));`;
  const copy = join(folder, 'libcopy.so');
  for (const spoil of ['rmSync(path);', "writeFileSync(path + '.new', 'rubbish'); renameSync(path + '.new', path);"]) {
    copyFileSync(math, copy);
    const [before, after] = underJemalloc<string[][]>(script(spoil), { env: { COPY: copy } });
    expect(before?.[1]).toBe('malloc');
    expect(before?.[0]).toContain('cbrt');
    expect(after).toEqual(['??', 'malloc']);
  }
});

test("V8's list of compiled functions: the later of two at one address counts, and lines that are none are passed over", () => {
  const table = parsePerfMap(Buffer.from('1000 20 JS:~old a.js:1\nrubbish\n2000 8 Builtin:x\n1000 10 JS:*new file:///b c.js:2\nzz 10 y\n3000 10 cut of'));
  expect([0x1000, 0x100f, 0x1010, 0x2004, 0x2008, 0x3000].map((at) => table.at(at))).toEqual([
    'JS:*new file:///b c.js:2',
    'JS:*new file:///b c.js:2',
    undefined,
    'Builtin:x',
    undefined,
    undefined,
  ]);
});

test('a list that grows is read again; a link that somebody put in its place is not believed', () => {
  const path = join(folder, 'perf.map');
  const symbols = new ProcessSymbols(path);
  expect(symbols.resolve([0x1000n])).toEqual(['??']);
  writeFileSync(path, '1000 10 first\n');
  expect(symbols.resolve([0x1000n, 0x2000n])).toEqual(['first', '??']);
  writeFileSync(path, '1000 10 first\n2000 10 second\n');
  expect(symbols.resolve([0x1000n, 0x2000n])).toEqual(['first', 'second']);
  symlinkSync(path, join(folder, 'link.map'));
  expect(new ProcessSymbols(join(folder, 'link.map')).resolve([0x1000n])).toEqual(['??']);
});

test('functions that V8 compiled have names where the process was started with --perf-basic-prof', () => {
  const name = underJemalloc<string>(
    `import { readFileSync, rmSync } from 'node:fs';
    const path = '/tmp/perf-' + process.pid + '.map';
    process.on('exit', () => rmSync(path, { force: true }));
    globalThis.knownFunction = function knownFunction(n) { let sum = 0; for (let i = 0; i < n; i++) sum += Math.sqrt(i); return sum; };
    for (let i = 0; i < 200; i++) knownFunction(50_000);
    const line = readFileSync(path, 'utf8').split('\\n').findLast((each) => /\\*knownFunction/.test(each));
    const { resolveSymbols } = await load('symbols');
    const [name] = await resolveSymbols([BigInt('0x' + line.split(' ')[0]) + 1n]);
    console.log(JSON.stringify(name));`,
    { env: { NODE_OPTIONS: '--perf-basic-prof' } },
  );
  expect(name).toContain('knownFunction');
});
