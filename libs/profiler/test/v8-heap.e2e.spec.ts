import { expect, test } from '@jest/globals';
import { goRow } from './go-pprof.js';
import { inChild } from './in-child.js';

/** About 100 MB in a million objects; the bytes that are held are told by V8 itself. */
const prelude = `
  const { captureV8Heap, startV8HeapSampling, stopV8HeapSampling, isV8HeapSampling } = await load('v8-heap');
  const usedBytes = () => { gc(); return process.memoryUsage().heapUsed; };
  const objectOf = (i) => ({ a: i, b: i + 1, c: i + 2, d: i + 3, e: i + 4, f: i + 5, g: i + 6, h: i + 7, j: i + 8 });
  const kept = [];
  function holdsHundredMegabytes() { for (let i = 0; i < 1_000_000; i++) kept.push(objectOf(i)); }
  function makesGarbage() { let sum = 0; for (let i = 0; i < 1_000_000; i++) sum += objectOf(i).a; return sum; }`;

interface Held {
  readonly profile: string;
  readonly heldBytes: number;
}

const bytesOf = async (profile: string, name: string): Promise<number> => (await goRow(profile, name, '-unit=B', '-sample_index=inuse_space')).value;

test('the function that holds 100 MB is named within 10 %, garbage is not counted, and sampling stays on', async () => {
  const { profile, heldBytes, on } = await inChild<Held & { on: boolean }>(
    `${prelude}
    startV8HeapSampling();
    const before = usedBytes();
    holdsHundredMegabytes();
    makesGarbage();
    const heldBytes = usedBytes() - before;
    answer({ profile: await captureV8Heap({ seconds: 0 }), heldBytes, on: isV8HeapSampling() });`,
    ['--expose-gc'],
  );
  expect(heldBytes).toBeGreaterThan(90e6);
  const ratio = (await bytesOf(profile, 'holdsHundredMegabytes')) / heldBytes;
  expect(ratio).toBeGreaterThan(0.9);
  expect(ratio).toBeLessThan(1.1);
  expect(await bytesOf(profile, 'makesGarbage')).toBeLessThan(heldBytes / 100);
  expect(on).toBe(true);
});

test('with sampling off the capture samples for its own seconds, and leaves it off', async () => {
  const { profile, heldBytes, on } = await inChild<Held & { on: boolean[] }>(
    `${prelude}
    const capture = captureV8Heap({ seconds: 1.5 });
    const during = isV8HeapSampling();
    const before = usedBytes();
    holdsHundredMegabytes();
    const heldBytes = usedBytes() - before;
    const profile = await capture;
    answer({ profile, heldBytes, on: [during, isV8HeapSampling()] });`,
    ['--expose-gc'],
  );
  const ratio = (await bytesOf(profile, 'holdsHundredMegabytes')) / heldBytes;
  expect(ratio).toBeGreaterThan(0.9);
  expect(ratio).toBeLessThan(1.1);
  expect(on).toEqual([false, false]);
});

test('what cannot be captured is refused with the reason, and the next capture works', async () => {
  const { refusals, works } = await inChild<{ refusals: string[]; works: boolean }>(
    `${prelude}
    const refused = (options) => captureV8Heap(options).then(() => 'taken', (error) => error.name + ': ' + error.message);
    const running = new AbortController();
    const aborted = refused({ seconds: 600, signal: running.signal });
    const refusals = [await refused({ seconds: 0.1 })];
    running.abort(new Error('the client is gone'));
    refusals.push(await aborted, await refused({ seconds: 0 }), await refused({ seconds: 601 }), await refused({ seconds: Number.NaN }));
    startV8HeapSampling();
    const first = captureV8Heap({ seconds: 0.1 });
    stopV8HeapSampling();
    await first;
    answer({ refusals, works: (await captureV8Heap({ seconds: 0.1 })).length > 0 });`,
    ['--expose-gc'],
  );
  expect(refusals).toEqual([
    expect.stringMatching(/^ProfilerBusy: /),
    'Error: the client is gone',
    expect.stringMatching(/^NotActivated: .*set_prof_active/),
    'RangeError: seconds must be 0 to 600',
    'RangeError: seconds must be 0 to 600',
  ]);
  expect(works).toBe(true);
});

test('memory outside of the heap is one frame of its own', async () => {
  const { profile } = await inChild<{ profile: string }>(
    `${prelude}
    startV8HeapSampling();
    const outside = Buffer.alloc(50_000_000, 1);
    answer({ profile: await captureV8Heap({ seconds: 0 }), bytes: outside.length });`,
    ['--expose-gc'],
  );
  expect(await bytesOf(profile, '(external)')).toBeGreaterThan(49e6);
});
