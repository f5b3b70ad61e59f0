import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { counterMessage, IngestCluster } from './ingest-cluster.js';
import { type IngestNode, samplesOf } from './ingest-node.js';

let redis: RedisServer;
let cluster: IngestCluster;
beforeAll(async () => void (redis = await startRedis()));
afterAll(() => redis.stop());
beforeEach(() => void (cluster = new IngestCluster(redis.url)));
afterEach(() => cluster.stop());

const noFilter = { matchMetrics: [], excludeMetrics: [], matchTags: [], dropMetric: false, dropHost: false, dropTags: [], rewriteTags: {}, addTags: [] };
const names = Array.from({ length: 60 }, (_, at) => `hits.${at}`);

/** Where each counter's rows are, once all is settled. */
const placesOf = (kind = 'counter'): Map<string, Set<string>> => {
  const places = new Map<string, Set<string>>();
  for (const row of cluster.rows()) if (row.kind === kind) places.set(row.name, (places.get(row.name) ?? new Set()).add(row.node));
  return places;
};

test('what comes to any of three nodes is added up by one, exactly', async () => {
  const nodes = [await cluster.start('a'), await cluster.start('b'), await cluster.start('c')];
  await cluster.known(['a', 'b', 'c']);
  const expected = new Map<string, number>();
  for (let round = 0; round < 30; round++) {
    for (const [at, name] of names.entries()) {
      const node = nodes[(at + round) % 3]!;
      if (round % 2 === 0) {
        cluster.takeLine(node, `${name}:${round}|c|@0.3\n${name}.took:${round}|ms\n${name}.who:${round}|s\n${name}.depth:+1|g`);
        expected.set(name, (expected.get(name) ?? 0) + round / 0.3);
      } else {
        await cluster.post(node, counterMessage(name, round));
        expected.set(name, (expected.get(name) ?? 0) + round);
      }
    }
    if (round % 10 === 5) await nodes[round % 3]!.ingest.flush();
  }
  await cluster.settle();
  const sums = cluster.sums('counter');
  for (const [name, sum] of expected) expect(Math.abs((sums.get(name) ?? 0) - sum)).toBeLessThan(1e-9 * sum);
  for (const kind of ['counter', 'timer.count', 'set', 'gauge']) for (const places of placesOf(kind).values()) expect(places.size).toBe(1);
  expect(new Set([...placesOf().values()].flatMap((places) => [...places]))).toEqual(new Set(['a', 'b', 'c']));
  const gauges = cluster.rows().filter(({ kind }) => kind === 'gauge');
  for (const name of names) expect(gauges.filter((row) => row.name === `${name}.depth`).at(-1)?.value).toBe(15);
});

test('a node that joins or leaves takes its series with it, gauges with what they stand at', async () => {
  const [a, b] = [await cluster.start('a'), await cluster.start('b')];
  await cluster.known(['a', 'b']);
  const take = (text: string): void => cluster.takeLine(a, names.map((name) => `${name}${text}`).join('\n'));
  take(':7|g');
  await cluster.settle();
  const c = await cluster.start('c');
  await cluster.known(['a', 'b', 'c']);
  await cluster.settle();
  take(':+1|g');
  await cluster.settle();
  const shown = async (): Promise<Map<string, number>> => new Map((await Promise.all(cluster.nodes.map(async (node) => [...(await cluster.ownSamples(node))]))).flat());
  expect(new Set((await shown()).values())).toEqual(new Set([8]));
  expect((await cluster.ownSamples(c)).size).toBeGreaterThan(5);
  // What it has taken in and not flushed is rows by then, or with its owners.
  for (const name of names) await cluster.post(b, counterMessage(`${name}.last`, 5));
  await cluster.leave(b);
  expect([cluster.waiting('peer-'), cluster.rows().some(({ node, kind }) => node === 'b' && kind === 'counter')]).toEqual([[], true]);
  await cluster.known(['a', 'c']);
  take(':+1|g');
  await cluster.settle();
  const gauges = [...(await shown())].filter(([name]) => !name.includes('_last'));
  expect([gauges.length, new Set(gauges.map(([, value]) => value))]).toEqual([names.length, new Set([9])]);
  expect(cluster.total('counter')).toBe(5 * names.length);
  await cluster.leave(a);
  await cluster.leave(c);
  expect(cluster.waiting('peer-')).toEqual([]);
});

/** Each of them was counted, and none more than twice: a loss does not hide behind what came twice. */
function expectEach(heard: readonly string[]): void {
  const sums = cluster.sums('counter');
  expect(heard.filter((name) => ![1, 2].includes(sums.get(name) ?? 0))).toEqual([]);
}

test('a node is added under load, and nothing is lost or counted twice', async () => {
  await cluster.start('a');
  await cluster.start('b');
  await cluster.known(['a', 'b']);
  const load = cluster.load(names, 200);
  await load.reached(300);
  await cluster.start('c');
  await cluster.known(['a', 'b', 'c']);
  await load.reached(900);
  const { acknowledged, unanswered } = await load.stop();
  await cluster.settle();
  expect(unanswered).toBe(0);
  expect(cluster.total('counter')).toBe(acknowledged);
  expect([...placesOf().values()].some((places) => places.has('c'))).toBe(true);
});

test('after kill -9 of an owner all that was acknowledged is counted, and at most one message of each other node twice', async () => {
  await cluster.start('a');
  await cluster.start('b');
  const victim = await cluster.startProcess('victim');
  await cluster.known(['a', 'b', 'victim']);
  const load = cluster.load(names, 200);
  await load.reached(600);
  await victim.kill();
  await waitUntil(() => cluster.nodes.every(({ ingest }) => ingest.peers.failures().length > 0 || ingest.peers.messagesTakenBack > 0));
  // Its lease runs out, the grace too, and its series have other owners.
  await waitUntil(() => cluster.nodes.every(({ ingest }) => ingest.peers.messagesTakenBack > 0), { timeoutMs: 30_000 });
  const { acknowledged, heard, unanswered, mostInFlush } = await load.stop();
  await cluster.start('victim');
  await cluster.settle();
  expectEach(heard);
  const total = cluster.total('counter');
  expect(total).toBeLessThanOrEqual(acknowledged + unanswered + 2 * mostInFlush);
}, 90_000);

test('an owner that is stopped and goes on loses nothing, and counts at most one message of each other node twice', async () => {
  await cluster.start('a');
  await cluster.start('b');
  const victim = await cluster.startProcess('victim');
  await cluster.known(['a', 'b', 'victim']);
  const load = cluster.load(names, 200, ['a', 'b']);
  await load.reached(300);
  victim.signal('SIGSTOP');
  await waitUntil(() => cluster.nodes.every(({ ingest }) => ingest.peers.messagesTakenBack > 0), { timeoutMs: 60_000 });
  victim.signal('SIGCONT');
  await cluster.known(['a', 'b', 'victim']);
  const { acknowledged, heard, unanswered, mostInFlush } = await load.stop();
  expect(unanswered).toBe(0);
  await cluster.settle();
  await victim.end();
  expectEach(heard);
  const total = cluster.total('counter');
  expect(total).toBeLessThanOrEqual(acknowledged + 2 * mostInFlush);
}, 90_000);

test('an owner that is away for a moment gets what waited for it, and nothing is counted elsewhere', async () => {
  const a = await cluster.start('a');
  const b = await cluster.start('b');
  await cluster.known(['a', 'b']);
  for (const name of names) await cluster.post(a, counterMessage(name, 1));
  await cluster.leave(b);
  // It was still known when this was flushed: what is b's waits for it.
  await a.ingest.flush();
  for (const name of names) await cluster.post(a, counterMessage(name, 1));
  await cluster.start('b');
  await cluster.known(['a', 'b']);
  await cluster.settle();
  expect(cluster.total('counter')).toBe(2 * names.length);
  expect(a.ingest.peers.messagesTakenBack).toBe(0);
});

test('filters are applied where something comes in, not again by its owner, also when it is counted from the journal', async () => {
  const addTag = ({ ingest }: NodeConfig): void => void (ingest.filters = [{ ...noFilter, rewriteTags: { 'n:*': 'n:x*' }, addTags: ['seen:yes'] }]);
  const a = await cluster.start('a', addTag);
  await cluster.start('b', addTag);
  const victim = await cluster.startProcess('victim', 3_600_000);
  await cluster.known(['a', 'b', 'victim']);
  for (const name of names) cluster.takeLine(a, `${name}:1|c|#n:1`);
  await a.ingest.flush();
  await waitUntil(() => a.ingest.spool.lanes().every((lane) => lane === 'tables'));
  await victim.kill();
  await cluster.start('victim', addTag);
  await cluster.known(['a', 'b', 'victim']);
  await cluster.settle();
  const rows = cluster.rows().filter(({ kind }) => kind === 'counter');
  expect(rows.map(({ value, tags }) => [value, tags])).toEqual(names.map(() => [1, ['n:x1', 'seen:yes']]));
  expect(new Set(rows.map(({ node }) => node))).toEqual(new Set(['a', 'b', 'victim']));
});

test('every node shows the series of all, each once, and says whose are missing', async () => {
  const limit = ({ ingest }: NodeConfig): void => void (ingest.seriesMax = 40);
  const nodes = [await cluster.start('a', limit), await cluster.start('b', limit)];
  const victim = await cluster.startProcess('victim');
  await cluster.known(['a', 'b', 'victim']);
  for (const node of nodes) for (const name of names) cluster.takeLine(node, `${name}:1|c`);
  // What has not been handed over yet is shown by nobody.
  const shown = async (): Promise<Map<string, number>[]> => Promise.all(nodes.map((node) => node.samples()));
  expect((await shown()).every((samples) => samples.size < names.length)).toBe(true);
  const isWhole = (samples: Map<string, number>): boolean => [...samples.values()].reduce((sum, value) => sum + value, 0) === 2 * names.length;
  await waitUntil(async () => {
    await cluster.settle();
    return (await shown()).every(isWhole);
  });
  const [ofA, ofB] = (await shown()) as [Map<string, number>, Map<string, number>];
  expect([...ofA].sort()).toEqual([...ofB].sort());
  expect([ofA.get('binnacle_overflow_total'), ofA.size]).toEqual([40, 41]);
  expect(ofA.get('hits_0_total')).toBe(2);
  victim.signal('SIGSTOP');
  const answer = await (nodes[0] as IngestNode).fetch('/metrics/ingested');
  expect(answer.headers.get('x-binnacle-failed-nodes')).toBe('victim');
  const partial = samplesOf(await answer.text());
  expect(partial.get('binnacle_ingest_node_away{node="victim"}')).toBe(1);
  expect(partial.size).toBeLessThan(41);
}, 60_000);
