import { expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { ProfilerBusy } from './capture-errors.js';
import { captureTrace } from './trace.js';

interface Trace {
  traceEvents: { cat: string; name: string; ph: string; pid: number }[];
  metadata: { truncated: boolean };
}

const parse = (trace: Buffer): Trace => JSON.parse(trace.toString()) as Trace;

/** Reads a file again and again for as long as something is captured, and never less than once. */
async function captureWhileReading(options: { seconds: number; bytesMax?: number }): Promise<Trace> {
  const capture = captureTrace(options);
  let isOver = false;
  void capture.finally(() => (isOver = true)).catch(() => undefined);
  do await readFile(new URL(import.meta.url)).catch(() => undefined);
  while (!isOver);
  return parse(await capture);
}

test('a trace has what the process did with files, in the form that trace viewers read', async () => {
  const { traceEvents, metadata } = await captureWhileReading({ seconds: 0.3 });
  const file = traceEvents.filter(({ cat }) => cat.includes('node.fs.async'));
  expect(file.length).toBeGreaterThan(0);
  expect(file[0]).toMatchObject({ pid: process.pid, name: expect.any(String), ph: expect.any(String) });
  expect(metadata).toEqual({ truncated: false });
});

test('a trace that is full ends, is still valid and says that it is not whole', async () => {
  const { traceEvents, metadata } = await captureWhileReading({ seconds: 0.5, bytesMax: 1_000 });
  expect(Buffer.byteLength(JSON.stringify(traceEvents))).toBeLessThanOrEqual(1_002);
  expect(metadata).toEqual({ truncated: true });
});

test('there is one at a time, a cancelled one ends at once and the next one works', async () => {
  const cancel = new AbortController();
  const startMs = performance.now();
  const first = captureTrace({ seconds: 60, signal: cancel.signal });
  await expect(captureTrace({ seconds: 0.1 })).rejects.toThrow(ProfilerBusy);
  cancel.abort(new Error('the client has gone'));
  await expect(first).rejects.toThrow('the client has gone');
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(parse(await captureTrace({ seconds: 0.1 })).metadata.truncated).toBe(false);
});

test.each([0, -1, 0.09, 121, Number.NaN, Infinity])('%d seconds are refused', async (seconds) => {
  await expect(captureTrace({ seconds })).rejects.toThrow('seconds must be 0.1 to 120');
});

test('one whose client is gone already does not begin', async () => {
  await expect(captureTrace({ seconds: 60, signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone');
});
