import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { goPprof } from './go-pprof.js';
import { inChild } from './in-child.js';

/** The function begins on line 7 here, and on line 1 or 2 of what is run. */
const program = `interface Unit {
  readonly name: string;
}

type Units = readonly Unit[];

export function burnTyped(units: Units): number {
  let x = units.length;
  const endMs = performance.now() + 20;
  while (performance.now() < endMs) for (let i = 0; i < 10_000; i++) x = (x * 31 + i) % 1_000_003;
  return x;
}

export const holdTyped = (kept: unknown[]): void => {
  for (let i = 0; i < 300_000; i++) kept.push({ a: i, b: i, c: i });
};
`;

let folder: string;

/** The path of the program as JavaScript, whose map says that it was written in ../src. */
async function compile(name: string, mapPlace: 'beside' | 'inline', keepSource: boolean): Promise<string> {
  const { outputText, sourceMapText = '' } = ts.transpileModule(program, {
    fileName: `${name}.ts`,
    compilerOptions: { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2023, sourceMap: true },
  });
  const map = sourceMapText.replace(`"${name}.ts"`, `"../src/${name}.ts"`);
  const url = `data:application/json;base64,${Buffer.from(map).toString('base64')}`;
  const file = join(folder, 'dist', `${name}.js`);
  await writeFile(file, mapPlace === 'inline' ? outputText.replace(`${name}.js.map`, url) : outputText);
  if (mapPlace === 'beside') await writeFile(`${file}.map`, map);
  if (keepSource) await writeFile(join(folder, 'src', `${name}.ts`), program);
  return file;
}

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'binnacle-source-lines-')));
  await mkdir(join(folder, 'src'));
  await mkdir(join(folder, 'dist'));
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const capture = (file: string): string => `
  const { captureCpuProfile } = await load('cpu-profile');
  const { captureV8Heap } = await load('v8-heap');
  const { Worker } = await import('node:worker_threads');
  const file = ${JSON.stringify(file)};
  const { burnTyped, holdTyped } = await import(file);
  let burning = true;
  const burn = (async () => { while (burning) { burnTyped([]); await new Promise(setImmediate); } })();
  const worker = new Worker('import(' + JSON.stringify(file) + ').then(({ burnTyped }) => { for (;;) burnTyped([]); })', { eval: true });
  await sleep(300);
  const cpu = await captureCpuProfile({ seconds: 0.5, frequencyHz: 199 });
  burning = false;
  await worker.terminate();
  const kept = [];
  const capture = captureV8Heap({ seconds: 0.3 });
  holdTyped(kept);
  answer({ cpu, heap: await capture, kept: kept.length });`;

const lines = (profile: string, ...options: string[]): Promise<string> => goPprof(profile, '-top', '-lines', ...options);

test('frames of the main thread, of workers and of the heap are those of the TypeScript file', async () => {
  const file = await compile('typed', 'beside', true);
  const { cpu, heap } = await inChild<{ cpu: string; heap: string }>(capture(file));
  const source = join(folder, 'src', 'typed.ts');
  expect(await lines(cpu, '-tagfocus=main')).toContain(`burnTyped ${source}:7`);
  expect(await lines(cpu, '-tagfocus=worker')).toContain(`burnTyped ${source}:7`);
  expect(await lines(heap)).toContain(`holdTyped ${source}:14`);
  expect(await lines(cpu)).not.toContain('typed.js');
});

test('a source that is not on this machine keeps the path that the map gives it, and an inline map is read', async () => {
  const file = await compile('shipped', 'inline', false);
  const { cpu } = await inChild<{ cpu: string }>(capture(file));
  const text = await lines(cpu);
  expect(text).toMatch(/burnTyped src\/shipped\.ts:7$/m);
  expect(text).not.toContain(folder);
});

test('a file without a map, or with a broken one, keeps its own lines', async () => {
  const file = await compile('broken', 'beside', false);
  await writeFile(`${file}.map`, '{"version": 3, "mappings": 12');
  const { cpu } = await inChild<{ cpu: string }>(capture(file));
  expect(await lines(cpu)).toContain(`burnTyped ${file}:1`);
});
