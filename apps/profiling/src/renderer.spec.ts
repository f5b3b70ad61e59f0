import { afterEach, describe, expect, test } from '@jest/globals';
import { decodeProfile, encodeProfile } from '@binnacle/profiler/profile';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { Profile, StringTable } from 'pprof-format';
import { Renderer, type RendererLimits } from './renderer.js';

const limits: RendererLimits = { jobMs: 60_000, heapMegabytes: 256, waitingMax: 3, idleMs: 30_000 };
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function renderer(change: Partial<RendererLimits> = {}): { renderer: Renderer; clock: FakeClock } {
  const clock = new FakeClock();
  const node = { clock, addPart: (part: { stop: () => Promise<void> }) => stops.push(part.stop) };
  return { renderer: new Renderer(node as never, { ...limits, ...change }), clock };
}

/** CPU time of functions called by `main`, in nanoseconds. */
async function profile(cpuOf: Record<string, number>): Promise<Buffer> {
  const strings = new StringTable();
  const names = ['main', ...Object.keys(cpuOf)];
  return encodeProfile(
    new Profile({
      stringTable: strings,
      sampleType: [{ type: strings.dedup('cpu'), unit: strings.dedup('nanoseconds') }],
      function: names.map((name, index) => ({ id: index + 1, name: strings.dedup(name), filename: strings.dedup('/app/x.ts'), startLine: 7 })),
      location: names.map((_, index) => ({ id: index + 1, line: [{ functionId: index + 1, line: 7 }] })),
      sample: Object.values(cpuOf).map((value, index) => ({ locationId: [index + 2, 1], value: [value] })),
      durationNanos: 1_000_000_000,
    }),
  );
}

const functions = (count: number): Record<string, number> => Object.fromEntries(Array.from({ length: count }, (_, index) => [`function${index}`, index + 1]));

describe('a profile', () => {
  test('is drawn, folded, listed and told as a tree', async () => {
    const { renderer: on } = renderer();
    const pprof = await profile({ hot: 900, cold: 100 });
    const as = async (format: Parameters<Renderer['render']>[1]) => (await on.render(pprof, format, 'the <title>')).toString();
    expect(await as('svg')).toMatch(/^<\?xml[^]*<svg [^]*the &lt;title&gt;[^]*hot[^]*<\/svg>\n$/);
    expect(await as('collapsed')).toBe('main;cold 100\nmain;hot 900\n');
    expect(JSON.parse(await as('top'))).toMatchObject({ total: 1_000, rows: [expect.objectContaining({ name: 'hot', flat: 900 }), expect.anything(), expect.anything()] });
    expect(await as('text')).toMatch(/ 90.00% .* hot /);
    expect(JSON.parse(await as('json'))).toEqual({
      title: 'the <title>',
      sampleType: { type: 'cpu', unit: 'nanoseconds' },
      durationNanos: 1_000_000_000,
      left: 0,
      root: {
        name: 'root',
        value: 1_000,
        self: 0,
        children: [
          {
            name: 'main',
            file: '/app/x.ts',
            line: 7,
            value: 1_000,
            self: 0,
            children: [
              { name: 'hot', file: '/app/x.ts', line: 7, value: 900, self: 900 },
              { name: 'cold', file: '/app/x.ts', line: 7, value: 100, self: 100 },
            ],
          },
        ],
      },
    });
  });

  test('is merged with others by node, with comments', async () => {
    const { renderer: on } = renderer();
    const parts = [
      { node: 'n0', pprof: await profile({ a: 1 }) },
      { node: 'n1', pprof: await profile({ a: 2, b: 4 }) },
    ];
    const merged = decodeProfile(await on.merge(parts, ['node n2 is not in it: it failed']));
    const { strings } = merged.stringTable;
    const shown = merged.sample.map(({ value, label }) => `${label.map(({ key, str }) => `${strings[Number(key)]}=${strings[Number(str)]}`).join()} ${value.join()}`);
    expect(shown.sort()).toEqual(['node=n0 1', 'node=n1 2', 'node=n1 4']);
    expect(merged.comment.map((at) => strings[Number(at)])).toEqual(['node n2 is not in it: it failed']);
  });

  test('is compared with an earlier one', async () => {
    const { renderer: on } = renderer();
    const [base, other] = [await profile({ a: 5 }), await profile({ a: 8 })];
    expect((await on.diff(base, other, 'svg', 'diff')).toString()).toContain('</svg>');
    const values = decodeProfile(await on.diff(base, other, 'pprof', 'diff')).sample.flatMap(({ value }) => value.map(Number));
    expect(values.reduce((sum, value) => sum + value, 0)).toBe(3);
  });

  test("is made of jemalloc's dump and the names of its addresses", async () => {
    const { renderer: on } = renderer();
    const dump = Buffer.from(
      'heap_v2/524288\n  t*: 1: 1048576 [0: 0]\n  t0: 1: 1048576 [0: 0]\n@ 0x1001 0x2001\n  t*: 1: 1048576 [0: 0]\n  t0: 1: 1048576 [0: 0]\n\nMAPPED_LIBRARIES:\n00001000-00003000 r-xp 00000000 08:01 42 /usr/bin/x\n',
    );
    const addresses = await on.addressesOf(dump);
    expect(addresses).toEqual(['1000', '2000']);
    const pprof = await on.convertHeap(dump, addresses, ['malloc_caller', '??']);
    expect((await on.render(pprof, 'collapsed', '')).toString()).toMatch(/^\[x\];malloc_caller \d+\n$/);
  });

  test('that is none fails, and only it', async () => {
    const { renderer: on } = renderer();
    const [broken, whole] = [on.render(Buffer.from('no pprof'), 'svg', ''), on.render(await profile({ a: 1 }), 'collapsed', '')];
    await expect(broken).rejects.toThrow('could not be read');
    expect((await whole).toString()).toBe('main;a 1\n');
    await expect(on.addressesOf(Buffer.from('no dump'))).rejects.toThrow('could not be read');
  });
});

describe('limits', () => {
  test('a job that takes too long ends with the thread; the next one gets a new thread', async () => {
    const { renderer: on, clock } = renderer();
    const slow = on.render(await profile(functions(100_000)), 'svg', '');
    const next = on.render(await profile({ a: 1 }), 'collapsed', '');
    const refused = expect(slow).rejects.toMatchObject({ code: 'UPSTREAM_TIMEOUT', message: expect.stringContaining('format=pprof') });
    await clock.advance(limits.jobMs);
    await refused;
    expect((await next).toString()).toBe('main;a 1\n');
  });

  test('a job that takes too much memory fails alone', async () => {
    const { renderer: on } = renderer({ heapMegabytes: 32 });
    const large = on.render(await profile(functions(400_000)), 'json', '');
    const next = on.render(await profile({ a: 1 }), 'collapsed', '');
    await expect(large).rejects.toMatchObject({ code: 'OVERLOADED', message: expect.stringContaining('memory') });
    expect((await next).toString()).toBe('main;a 1\n');
  });

  test('so many wait and no more', async () => {
    const { renderer: on } = renderer();
    const pprof = await profile({ a: 1 });
    const jobs = await Promise.allSettled(Array.from({ length: 6 }, () => on.render(pprof, 'collapsed', '')));
    expect(jobs.map(({ status }) => status)).toEqual([...Array(4).fill('fulfilled'), 'rejected', 'rejected']);
    expect((jobs[5] as PromiseRejectedResult).reason).toMatchObject({ code: 'OVERLOADED', retryAfterS: 5 });
  });

  test('a thread without a job ends after a while, and a new one comes with the next job', async () => {
    const { renderer: on, clock } = renderer();
    const pprof = await profile({ a: 1 });
    await on.render(pprof, 'collapsed', '');
    expect(clock.timerCount()).toBe(1);
    await clock.advance(limits.idleMs);
    expect(clock.timerCount()).toBe(0);
    expect((await on.render(pprof, 'collapsed', '')).toString()).toBe('main;a 1\n');
  });

  test('with its node the thread ends, and what waits for it fails', async () => {
    const { renderer: on, clock } = renderer();
    const pprof = await profile({ a: 1 });
    const jobs = [on.render(pprof, 'svg', ''), on.render(pprof, 'svg', '')].map((job) => expect(job).rejects.toMatchObject({ code: 'NO_TARGET' }));
    await stops.splice(0)[0]?.();
    await Promise.all(jobs);
    expect(clock.timerCount()).toBe(0);
  });
});
