import { expect, test } from '@jest/globals';
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import { addressesMax, resolveSymbols } from './symbols.js';

const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
const addressOf = (name: string, library: string | null = null): bigint => koffi.address(koffi.load(library).symbol(name));

test('addresses of this process get their names, in their order; what has none is ??', async () => {
  const uvRun = addressOf('uv_run');
  const malloc = addressOf('malloc', 'libc.so.6');
  expect(await resolveSymbols([malloc, 0n, uvRun + 3n, -1n, 1n << 64n, malloc, (1n << 64n) - 1n])).toEqual(['malloc', '??', 'uv_run', '??', '??', 'malloc', '??']);
});

test('names of C++ stay as the linker knows them', async () => {
  expect(await resolveSymbols([addressOf('_ZN2v87Isolate10GetCurrentEv')])).toEqual(['_ZN2v87Isolate10GetCurrentEv']);
});

test('calls at the same time get each their own answer', async () => {
  const names = ['uv_run', 'uv_now', 'uv_loop_init', 'napi_create_object'];
  const answers = await Promise.all(names.map((name) => resolveSymbols([addressOf(name)])));
  expect(answers.flat()).toEqual(names);
});

test('none is answered at once, and too many are refused', async () => {
  expect(await resolveSymbols([])).toEqual([]);
  await expect(resolveSymbols(new Array<bigint>(addressesMax + 1).fill(1n))).rejects.toThrow(RangeError);
});
