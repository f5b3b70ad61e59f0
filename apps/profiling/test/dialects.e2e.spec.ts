import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { clusterSecretHeader, dialectHeader, listenerHeader } from '@binnacle/contracts/internal-headers';
import { decodeProfile } from '@binnacle/profiler/profile';
import { clusterSecret, ProfilingNode, type Ask } from './nodes.js';

let node: ProfilingNode;
beforeAll(async () => {
  node = await ProfilingNode.start('n0');
});
afterAll(() => node.stop());

const go = { dialect: 'gostatsd' } as const;
const quick = 'seconds=0.1';

/** Content type, and the first of the body. */
async function answered(path: string, ask?: Ask): Promise<[string | null, string]> {
  const response = await node.ask(path, ask);
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`${response.status} ${bytes}`);
  return [response.headers.get('content-type'), bytes[0] === 0x1f && bytes[1] === 0x8b ? 'gzip' : bytes.toString().slice(0, 5)];
}

/** As Go's client: `fetch` cannot leave the header Accept out. */
function answeredWithoutAccept(path: string, headers: Record<string, string>): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    get(`http://${node.running.address}${path}`, { agent: false, headers: { [clusterSecretHeader]: clusterSecret, [dialectHeader]: 'tiflash', ...headers } }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.headers['content-type']));
    }).once('error', reject);
  });
}

const pprof = ['application/octet-stream', 'gzip'];
const svg = ['image/svg+xml', '<?xml'];

describe('a CPU profile', () => {
  test('is a flame graph on the TiFlash dialect, and pprof for who says application/protobuf', async () => {
    expect(await answered(`/debug/pprof/profile?${quick}`)).toEqual(svg);
    expect(await answered(`/debug/pprof/profile?${quick}`, { headers: { 'content-type': 'application/protobuf' } })).toEqual(pprof);
    expect(await answered(`/debug/pprof/profile?${quick}`, { headers: { 'content-type': 'application/x-protobuf' } })).toEqual(svg);
  });

  test('is pprof on gostatsd', async () => {
    expect(await answered(`/go/pprof/profile?${quick}`, go)).toEqual(pprof);
    expect(await answered(`/go/pprof/profile?${quick}`, { dialect: 'tiproxy' })).toEqual(pprof);
  });

  test('is pprof on port 8080 for a client that says nothing of what it accepts, and only there', async () => {
    expect(await answeredWithoutAccept(`/debug/pprof/profile?${quick}`, { [listenerHeader]: 'all' })).toBe('application/octet-stream');
    expect(await answeredWithoutAccept(`/debug/pprof/profile?${quick}`, {})).toBe('image/svg+xml');
    expect(await answered(`/debug/pprof/profile?${quick}`, { shared: true, headers: { accept: '*/*' } })).toEqual(svg);
  });

  test.each([
    ['pprof', pprof],
    ['svg', svg],
    ['collapsed', ['text/plain; charset=utf-8', expect.any(String)]],
    ['json', ['application/json; charset=utf-8', '{"tit']],
  ])('is %s where format says so, on every dialect', async (format, expected) => {
    expect(await answered(`/debug/pprof/profile?${quick}&format=${format}`, { headers: { 'content-type': 'application/protobuf' } })).toEqual(expected);
    expect(await answered(`/go/pprof/profile?${quick}&format=${format}`, go)).toEqual(expected);
  });

  test('has the sample types and the time that were asked for', async () => {
    const response = await node.ask('/debug/pprof/profile?seconds=0.3&frequency=500&format=pprof');
    const profile = decodeProfile(new Uint8Array(await response.arrayBuffer()));
    const { strings } = profile.stringTable;
    expect(profile.sampleType.map(({ type }) => strings[Number(type)])).toEqual(['sample', 'wall', 'cpu']);
    expect(Number(profile.durationNanos) / 1e9).toBeGreaterThanOrEqual(0.3);
  });

  test('comes as a file that is no script, runs nothing of others, and opens in a browser only', async () => {
    const plain = await node.ask(`/debug/pprof/profile?${quick}`);
    expect(Object.fromEntries(plain.headers)).toMatchObject({
      'content-disposition': 'attachment; filename="cpu_profile"',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-binnacle-profile': expect.stringMatching(/^n0~/),
    });
    const browser = await node.ask(`/debug/pprof/profile?${quick}`, { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } });
    expect(browser.headers.get('content-disposition')).toBe('inline; filename="cpu_profile"');
    expect((await node.ask(`/go/pprof/profile?${quick}`, go)).headers.get('content-disposition')).toBe('attachment; filename="profile"');
  });

  test('is kept', async () => {
    const id = (await node.ask(`/go/pprof/profile?${quick}`, go)).headers.get('x-binnacle-profile');
    const kept = await node.ask(`/api/v1/profiles/${encodeURIComponent(id ?? '')}`, { dialect: 'binnacle' });
    expect(kept.status).toBe(200);
    expect(decodeProfile(new Uint8Array(await kept.arrayBuffer())).sampleType).toHaveLength(3);
  });
});

describe("V8's heap", () => {
  test('over a time, as gostatsd has it, and from TiFlash with source=v8', async () => {
    expect(await answered(`/go/pprof/heap?${quick}`, go)).toEqual(pprof);
    expect(await answered(`/go/pprof/heap?${quick}&format=collapsed`, go)).toEqual(['text/plain; charset=utf-8', expect.any(String)]);
    expect(await answered(`/debug/pprof/heap?source=v8&${quick}`)).toEqual(pprof);
    expect(await answered(`/debug/pprof/heap?source=v8&${quick}&jeprof=true`)).toEqual(svg);
  });

  test('at this moment, once it is sampled: else it is said how', async () => {
    for (const [path, ask] of [['/go/pprof/heap?seconds=0', go], ['/go/pprof/heap', { dialect: 'tiproxy' }], ['/debug/pprof/heap?source=v8', {}]] as const) {
      const [status, text] = await node.said(path, ask);
      expect([status, text]).toEqual([400, expect.stringContaining('/debug/pprof/set_prof_active')]);
    }
    for (let time = 0; time < 2; time++) expect(await node.said('/debug/pprof/set_prof_active?source=v8')).toEqual([200, 'set prof.active succeed']);
    expect(await answered('/go/pprof/heap?seconds=0', go)).toEqual(pprof);
    expect(await answered('/go/pprof/heap', { dialect: 'tiproxy' })).toEqual(pprof);
    for (let time = 0; time < 2; time++) expect(await node.said('/debug/pprof/set_prof_inactive')).toEqual([200, 'set prof.active succeed']);
    expect((await node.said('/go/pprof/heap?seconds=0', go))[0]).toBe(400);
  });

  test('is all there is without jemalloc, and what needs that says how to get it', async () => {
    for (const path of ['heap', 'heap?jeprof=true&text=svg', 'set_prof_active', 'arena_purge', 'memory_status']) {
      expect(await node.said(`/debug/pprof/${path}`)).toEqual([503, expect.stringContaining('apt-get install libjemalloc2')]);
    }
  });
});

describe('bad input', () => {
  const seconds = /^seconds must be a number from 0\.1 to 600$/;
  test.each([
    ['profile?seconds=0', seconds],
    ['profile?seconds=-1', seconds],
    ['profile?seconds=abc', seconds],
    ['profile?seconds=601', seconds],
    ['profile?seconds=1&seconds=2', /more than once/],
    ['profile?frequency=0', /^frequency must be a whole number from 1 to 1000$/],
    ['profile?frequency=99999', /^frequency must be a whole number from 1 to 1000$/],
    ['profile?format=png', /^format must be one of pprof, svg, collapsed, json$/],
    ['profile?node=a%20b', /node id/],
    ['heap?source=glibc', /^source must be/],
    ['heap?source=v8&jeprof=true&text=raw', /jemalloc's heap of one node/],
    ['heap?node=*&jeprof=true&text=raw', /jemalloc's heap of one node/],
    ['memory_status?node=*', /node id/],
  ] as const)('TiFlash: %s is refused in plain text', async (path, message) => {
    const response = await node.ask(`/debug/pprof/${path}`);
    expect([response.status, response.headers.get('content-type')]).toEqual([400, 'text/plain']);
    expect(await response.text()).toMatch(message);
  });

  test.each([
    ['profile?seconds=601', seconds],
    ['profile?frequency=99999', /^frequency must be/],
    ['trace?seconds=0', /^seconds must be a number from 0\.1 to 120$/],
    ['trace?seconds=121', /^seconds must be a number from 0\.1 to 120$/],
    ['heap?seconds=-1', /^seconds must be a number from 0\.1 to 600, or 0$/],
    ['heap?seconds=abc', /^seconds must be a number from 0\.1 to 600, or 0$/],
  ] as const)('gostatsd: %s is refused in plain text', async (path, message) => {
    const response = await node.ask(`/go/pprof/${path}`, go);
    expect([response.status, response.headers.get('content-type')]).toEqual([400, 'text/plain; charset=utf-8']);
    expect(await response.text()).toMatch(message);
  });

  test.each(['0', '-1', 'abc'])('gostatsd: profile?seconds=%s is that of 30 s, as in Go', async (text) => {
    const client = new AbortController();
    const capture = node.ask(`/go/pprof/profile?seconds=${text}`, { ...go, signal: client.signal });
    const first = await Promise.race([capture.then(({ status }) => status), new Promise((resolve) => setTimeout(resolve, 300, 'it runs'))]);
    client.abort();
    await capture.catch(() => undefined);
    expect(first).toBe('it runs');
  });

  test('TiProxy says it as JSON', async () => {
    expect(await node.said('/go/pprof/trace?seconds=abc', { dialect: 'tiproxy' })).toEqual([400, '"seconds must be a number from 0.1 to 120"']);
  });

  test('an unknown node is named', async () => {
    for (const [path, ask] of [['/debug/pprof/profile', {}], ['/debug/pprof/heap', {}], ['/debug/pprof/cmdline', {}], ['/go/pprof/trace', go]] as const) {
      expect(await node.said(`${path}?node=nobody`, ask)).toEqual([404, expect.stringContaining('there is no node nobody')]);
    }
  });
});

describe('the rest of /debug/pprof', () => {
  test('a trace opens in Chrome and Perfetto', async () => {
    const trace = (await (await node.ask(`/go/pprof/trace?${quick}`, go)).json()) as { traceEvents: unknown[] };
    expect(trace.traceEvents.length).toBeGreaterThan(0);
  });

  test('symbols are counted as 1, and resolved or ??', async () => {
    expect(await node.said('/debug/pprof/symbol')).toEqual([200, 'num_symbols: 1\n']);
    const asForm = { method: 'POST', body: '0x10+0x0+nonsense+20', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    expect(await node.said('/debug/pprof/symbol', asForm)).toEqual([200, '0x10 ??\n0x20 ??\n']);
    expect(await node.said('/debug/pprof/symbol', { method: 'POST', body: '0x10', headers: { 'content-type': 'text/x' } })).toEqual([200, '0x10 ??\n']);
    expect(await node.said('/debug/pprof/symbol', { method: 'POST' })).toEqual([200, '']);
  });

  test('the command line is separated by NUL', async () => {
    const [status, text] = await node.said('/debug/pprof/cmdline');
    expect(status).toBe(200);
    expect(text.split('\0')[0]).toBe(process.argv[0]);
  });

  test("TiProxy's index links the profiles", async () => {
    const [status, html] = await node.said('/go/pprof', { dialect: 'tiproxy' });
    expect(status).toBe(200);
    expect(html).toContain('<a href="profile?');
  });
});
