import { expect, test } from '@jest/globals';
import { createServer, get } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { ProfilerBusy } from './capture-errors.js';
import { callSpans } from './call-spans.js';
import { captureTrace } from './trace.js';

interface Trace {
  traceEvents: { cat: string; name: string; ph: string; pid: number; tid: number; ts: number; dur: number; args?: Record<string, unknown> }[];
  metadata: { truncated: boolean };
}

const parse = (trace: Buffer): Trace => JSON.parse(trace.toString()) as Trace;

function burnForTheTrace(): number {
  const endMs = performance.now() + 30;
  let sum = 0;
  while (performance.now() < endMs) for (let index = 0; index < 1_000; index++) sum += Math.sqrt(index);
  return sum;
}

/** A server that burns CPU in a known function and is asked again and again for as long as something is captured. */
async function captureWhileServing(options: { seconds: number; bytesMax?: number }): Promise<Trace> {
  const server = createServer((_request, response) => response.end(String(burnForTheTrace()))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let isOver = false;
  const capture = captureTrace(options).finally(() => (isOver = true));
  const asked = (async () => {
    while (!isOver) await new Promise((resolve) => get({ port, host: '127.0.0.1', path: '/orders?key=secret-in-the-query' }, (answer) => answer.resume().on('end', resolve)));
  })();
  const trace = parse(await capture);
  await asked;
  server.close();
  return trace;
}

test('a trace tells when functions ran, requests were served and memory grew, all on one clock', async () => {
  const { traceEvents, metadata } = await captureWhileServing({ seconds: 2 });
  expect(metadata).toEqual({ truncated: false });
  const burns = traceEvents.filter(({ name }) => name === 'burnForTheTrace');
  expect(burns.length).toBeGreaterThan(2);
  const served = traceEvents.filter(({ name }) => name === 'served GET /orders');
  expect(served.length).toBeGreaterThan(2);
  expect(served[0]).toMatchObject({ ph: 'X', cat: 'http', pid: process.pid, args: { status: 200 } });
  // Burns lie within requests: the sampler and the entries tell the time alike. Not each of them, as the sampler's thread may have to wait for a core.
  const within = burns.filter((burn) => served.some(({ ts, dur }) => ts - 5_000 <= burn.ts && burn.ts + burn.dur <= ts + dur + 5_000));
  expect(within.length).toBeGreaterThan(burns.length / 2);
  expect(traceEvents.find(({ name }) => name === 'memory (MB)')).toMatchObject({ ph: 'C', args: { rss: expect.any(Number) } });
  expect(JSON.stringify(traceEvents)).not.toContain('secret-in-the-query');
});

test('a trace that is full ends, is still valid and says that it is not whole', async () => {
  const { traceEvents, metadata } = await captureWhileServing({ seconds: 0.3, bytesMax: 2_000 });
  expect(Buffer.byteLength(JSON.stringify(traceEvents))).toBeLessThanOrEqual(2_002);
  expect(metadata).toEqual({ truncated: true });
});

test('calls nest, end where the next sample has them no longer, and idle time is no call', () => {
  const frame = (functionName: string) => ({ functionName, scriptId: '1', url: functionName.startsWith('(') ? '' : 'file:///app.js', lineNumber: 6, columnNumber: 0 });
  const node = (id: number, name: string, children: number[] = []) => ({ id, callFrame: frame(name), hitCount: 0, children });
  const nodes = [node(1, '(root)', [2, 5]), node(2, 'outer', [3, 4]), node(3, 'first'), node(4, 'second'), node(5, '(idle)')];
  const profile = { nodes, startTime: 1_000, endTime: 1_060, samples: [3, 3, 4, 5, 2], timeDeltas: [0, 10, 10, 10, 10] };
  expect([...callSpans(profile)].map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
    ['first', 1_000, 20],
    ['second', 1_020, 10],
    ['outer', 1_000, 30],
    ['outer', 1_040, 0],
  ]);
  expect([...callSpans(profile)][0]?.args).toEqual({ file: 'file:///app.js', line: 7 });
});

test('there is one at a time, a cancelled one ends at once and the next one works', async () => {
  const cancel = new AbortController();
  const startMs = performance.now();
  const first = captureTrace({ seconds: 60, signal: cancel.signal });
  await expect(captureTrace({ seconds: 0.1 })).rejects.toThrow(ProfilerBusy);
  cancel.abort(new Error('the client has gone'));
  await expect(first).rejects.toThrow('the client has gone');
  expect(performance.now() - startMs).toBeLessThan(30_000);
  expect(parse(await captureTrace({ seconds: 0.1 })).metadata.truncated).toBe(false);
});

test.each([0, -1, 0.09, 121, Number.NaN, Infinity])('%d seconds are refused', async (seconds) => {
  await expect(captureTrace({ seconds })).rejects.toThrow('seconds must be 0.1 to 120');
});

test('one whose client is gone already does not begin', async () => {
  await expect(captureTrace({ seconds: 60, signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone');
});
