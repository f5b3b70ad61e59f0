import { expect, test } from '@jest/globals';
import { goPprof, goRow } from './go-pprof.js';
import { inChild } from './in-child.js';

/** `burn(name)` keeps the main thread busy in a function of that name, in slices that let timers run, until `burning.name` changes. */
const prelude = `
  const { captureCpuProfile } = await load('cpu-profile');
  const burning = { name: '' };
  function burnFirst() { const end = performance.now() + 20; let x = 0; while (performance.now() < end) for (let i = 0; i < 10_000; i++) x = (x * 31 + i) % 1_000_003; return x; }
  function burnLater() { const end = performance.now() + 20; let x = 0; while (performance.now() < end) for (let i = 0; i < 10_000; i++) x = (x * 17 + i) % 1_000_003; return x; }
  const functions = { burnFirst, burnLater };
  async function burn(name) { burning.name = name; while (burning.name === name) { functions[name](); await new Promise(setImmediate); } }`;

test('a function that was hot before the first capture has its name, and so has one that became hot after it', async () => {
  const { first, later } = await inChild<{ first: string; later: string }>(
    `${prelude}
    burn('burnFirst');
    await sleep(500);
    const first = await captureCpuProfile({ seconds: 1, frequencyHz: 99 });
    burn('burnLater');
    await sleep(1_000);
    const later = await captureCpuProfile({ seconds: 1, frequencyHz: 99 });
    burning.name = '';
    answer({ first, later });`,
  );
  expect((await goRow(first, 'burnFirst')).percent).toBeGreaterThanOrEqual(90);
  expect((await goRow(later, 'burnLater')).percent).toBeGreaterThanOrEqual(90);
  expect(await goPprof(later, '-raw')).toMatch(/^Samples:\nsample\/count wall\/nanoseconds cpu\/nanoseconds/m);
  expect(await goPprof(later, '-tags')).toMatch(/thread: Total[^]*: main/);
});

test('an aborted capture rejects with the reason at once, and neither it nor a second start leaves a profiler behind', async () => {
  const { refusals, tookMs, works } = await inChild<{ refusals: string[]; tookMs: number; works: boolean }>(
    `${prelude}
    const refused = (options) => captureCpuProfile(options).then(() => 'taken', (error) => error.name + ': ' + error.message);
    const running = new AbortController();
    const aborted = refused({ seconds: 600, frequencyHz: 99, signal: running.signal });
    const refusals = [await refused({ seconds: 1, frequencyHz: 99 })];
    await sleep(300);
    const startMs = performance.now();
    running.abort(new Error('the client is gone'));
    refusals.push(await aborted);
    const tookMs = performance.now() - startMs;
    refusals.push(await refused({ seconds: 1, frequencyHz: 99, signal: AbortSignal.abort(new Error('never began')) }));
    refusals.push(await refused({ seconds: 0, frequencyHz: 99 }), await refused({ seconds: 1, frequencyHz: 1001 }));
    answer({ refusals, tookMs, works: (await captureCpuProfile({ seconds: 0.1, frequencyHz: 1000 })).length > 0 });`,
  );
  expect(refusals).toEqual([
    expect.stringMatching(/^ProfilerBusy: /),
    'Error: the client is gone',
    'Error: never began',
    'RangeError: seconds is 0: it has to be from 0.1 to 600',
    'RangeError: frequencyHz is 1001: it has to be from 1 to 1000',
  ]);
  expect(tookMs).toBeLessThan(500);
  expect(works).toBe(true);
});
