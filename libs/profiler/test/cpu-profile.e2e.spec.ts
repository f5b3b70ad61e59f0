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
    const first = await captureCpuProfile({ seconds: 2, frequencyHz: 99 });
    burn('burnLater');
    await sleep(1_000);
    const later = await captureCpuProfile({ seconds: 2, frequencyHz: 99 });
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
    'RangeError: seconds must be 0.1 to 600',
    'RangeError: frequencyHz must be 1 to 1000',
  ]);
  expect(tookMs).toBeLessThan(5_000);
  expect(works).toBe(true);
});

test('a long capture has room for all of its samples, and a short one for those of a thread that is blocked', async () => {
  const { long, blockedShare } = await inChild<{ long: number; blockedShare: number }>(
    `${prelude}
    const { loadPprof } = await load('pprof-library');
    const { time } = loadPprof();
    const { start } = time;
    const rooms = [];
    time.start = (options) => (rooms.push(options.durationMillis), start(options));
    const running = new AbortController();
    const aborted = captureCpuProfile({ seconds: 600, frequencyHz: 1_000, signal: running.signal }).catch(() => undefined);
    await sleep(200);
    running.abort();
    await aborted;
    const profile = captureCpuProfile({ seconds: 0.1, frequencyHz: 500 });
    await sleep(50);
    const before = process.cpuUsage();
    for (const endMs = performance.now() + 1_500; performance.now() < endMs; ) functions.burnFirst();
    const { user, system } = process.cpuUsage(before);
    const { decodeProfile } = await load('profile');
    const sampledMs = decodeProfile(await profile).sample.reduce((sum, { value }) => sum + Number(value[2]), 0) / 1e6;
    answer({ long: rooms[0], blockedShare: sampledMs / ((user + system) / 1_000) });`,
  );
  // Twice this is what pprof keeps.
  expect(long).toBe(600_000);
  expect(blockedShare).toBeGreaterThan(0.8);
});

/** `started(code)` runs a worker thread until it says that it is about to begin. */
const workers = `
  const { Worker } = await import('node:worker_threads');
  const { readdirSync, readFileSync } = await import('node:fs');
  const threads = 'process.getBuiltinModule("node:worker_threads")';
  const ready = threads + '.parentPort.postMessage("ready");';
  const started = (code) => new Promise((resolve, reject) => { const worker = new Worker(ready + code, { eval: true }); worker.once('message', () => resolve(worker)).once('error', reject); });
  const spinning = 'burnInWorker(); function burnInWorker() { let x = 0; for (;;) for (let i = 0; i < 1e5; i++) x = (x * 31 + i) % 1_000_003; }';
  const idle = 'setInterval(() => {}, 1_000)';
  const blocked = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)';
  const profilerThreads = () => readdirSync('/proc/self/task').filter((task) => { try { return readFileSync('/proc/self/task/' + task + '/comm', 'utf8').includes('ProfEvntProc'); } catch { return false; } }).length;`;

/** Milliseconds of CPU time by label `thread`. */
async function cpuByThread(profile: string): Promise<Record<string, number>> {
  const rows = (await goPprof(profile, '-tags', '-unit=ms')).matchAll(/([\d.]+)(?:ms)? \(\s*[\d.]+%\): (.+)$/gm);
  return Object.fromEntries([...rows].map(([, value, thread = '']) => [thread, Number(value)]));
}

test('a function that is hot in a worker thread has its name, and all of its CPU time, which is not counted twice', async () => {
  const { profile, usedMs } = await inChild<{ profile: string; usedMs: number }>(
    `${prelude}${workers}
    const all = [await started(spinning), await started(idle)];
    await sleep(500);
    const before = process.cpuUsage();
    const profile = await captureCpuProfile({ seconds: 2, frequencyHz: 99 });
    const { user, system } = process.cpuUsage(before);
    await Promise.all(all.map((worker) => worker.terminate()));
    answer({ profile, usedMs: (user + system) / 1_000 });`,
  );
  expect((await goRow(profile, 'burnInWorker')).percent).toBeGreaterThanOrEqual(90);
  const { 'worker 1': burning = 0, 'worker 2': idle = 0, main = 0, native = 0 } = await cpuByThread(profile);
  expect(burning).toBeGreaterThan(usedMs * 0.5);
  expect(idle).toBeLessThan(burning / 20);
  expect(burning + idle + main + native).toBeLessThanOrEqual(usedMs);
  expect(burning + idle + main + native).toBeGreaterThan(usedMs * 0.5);
});

test('workers that block, spin, come, go or have workers of their own neither hold the capture up nor notice it', async () => {
  const { tookMs, exitCodes, profilersLeft, stillThere } = await inChild<{ tookMs: number[]; exitCodes: number[]; profilersLeft: number; stillThere: number }>(
    `${prelude}${workers}
    const nested = 'new (' + threads + '.Worker)("setInterval(() => {}, 1_000)", { eval: true })';
    const all = [await started(spinning), await started(blocked), await started(nested)];
    let ended = 0;
    for (const worker of all) worker.once('exit', () => ended++);
    const exitCodes = [];
    let churning = true;
    const churn = (async () => {
      while (churning) exitCodes.push(await new Promise((resolve) => new Worker('for (let i = 0; i < 1e6; i++);', { eval: true }).once('error', (error) => resolve(String(error))).once('exit', resolve)));
    })();
    const tookMs = [];
    for (let i = 0; i < 8; i++) {
      const beforeMs = performance.now();
      const signal = i % 2 ? AbortSignal.timeout(40 * i) : undefined;
      await captureCpuProfile({ seconds: signal ? 60 : 0.3, frequencyHz: 199, signal }).catch((error) => { if (!signal?.aborted) throw error; });
      tookMs.push(performance.now() - beforeMs);
    }
    churning = false;
    await churn;
    const stillThere = all.length - ended;
    for (let waits = 0; profilerThreads() > 0 && waits < 100; waits++) await sleep(20);
    const profilersLeft = profilerThreads();
    await Promise.all(all.map((worker) => worker.terminate()));
    answer({ tookMs, exitCodes, profilersLeft, stillThere });`,
  );
  expect(Math.max(...tookMs)).toBeLessThan(20_000);
  expect(exitCodes.length).toBeGreaterThan(3);
  expect(new Set(exitCodes)).toEqual(new Set([0]));
  expect(profilersLeft).toBe(0);
  expect(stillThere).toBe(3);
});

test('of workers that began before the profiler was loaded no more CPU time is told than the process used', async () => {
  const { profile, usedMs } = await inChild<{ profile: string; usedMs: number }>(
    `${workers}
    const all = [await started(spinning), await started(spinning), await started(blocked)];
    const { captureCpuProfile } = await load('cpu-profile');
    const before = process.cpuUsage();
    const profile = await captureCpuProfile({ seconds: 2, frequencyHz: 99 });
    const { user, system } = process.cpuUsage(before);
    await Promise.all(all.map((worker) => worker.terminate()));
    answer({ profile, usedMs: (user + system) / 1_000 });`,
  );
  const threads = await cpuByThread(profile);
  expect(Object.values(threads).reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(usedMs);
  expect((threads['worker 1'] ?? 0) + (threads['worker 2'] ?? 0)).toBeGreaterThan(usedMs / 3);
});

test('of more than 32 worker threads the profile says how many it leaves out', async () => {
  const { profile, tookMs } = await inChild<{ profile: string; tookMs: number }>(
    `${prelude}${workers}
    const all = await Promise.all(Array.from({ length: 35 }, () => started(idle)));
    const beforeMs = performance.now();
    const profile = await captureCpuProfile({ seconds: 0.3, frequencyHz: 99 });
    const tookMs = performance.now() - beforeMs;
    await Promise.all(all.map((worker) => worker.terminate()));
    answer({ profile, tookMs });`,
  );
  expect(await goPprof(profile, '-comments')).toContain('3 more worker threads are counted as native');
  expect(tookMs).toBeLessThan(20_000);
});

test('a worker thread that begins meanwhile is in the profile', async () => {
  const { profile } = await inChild<{ profile: string }>(
    `${prelude}${workers}
    const capture = captureCpuProfile({ seconds: 4, frequencyHz: 99 });
    await sleep(300);
    const worker = await started(spinning);
    const profile = await capture;
    await worker.terminate();
    answer({ profile });`,
  );
  expect((await goRow(profile, 'burnInWorker')).percent).toBeGreaterThanOrEqual(50);
});

test('where the inspector is forbidden the main thread is profiled', async () => {
  const { first } = await inChild<{ first: string }>(
    `${prelude}
    burn('burnFirst');
    const first = await captureCpuProfile({ seconds: 0.5, frequencyHz: 99 });
    burning.name = '';
    answer({ first });`,
    ['--permission', '--allow-fs-read=*', '--allow-addons'],
  );
  const { main = 0, native = 0 } = await cpuByThread(first);
  expect(main).toBeGreaterThan(native * 5);
});
