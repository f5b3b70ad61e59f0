import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { clusterSecretHeader, dialectHeader } from '@binnacle/contracts/internal-headers';
import { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeConfig } from '@binnacle/node-kit/config';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { type RedisServer, startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { Module } from '@nestjs/common';
import { ProxyPeers } from '../src/process/proxy-peers.js';
import { SqlProxy } from '../src/process/sql-proxy.js';
import { settingsOfNode } from '../src/settings/node-settings.js';
import { ProxySettings } from '../src/settings/proxy-settings.js';
import type { CaptureOrder, CaptureProgress } from '../src/traffic/capture/capture-order.js';
import { TrafficController } from '../src/traffic/jobs/traffic.controller.js';
import { TrafficAgentController } from '../src/traffic/jobs/traffic-agent.controller.js';
import { TrafficJobs } from '../src/traffic/jobs/traffic-jobs.js';

/* Traffic jobs over two proxy nodes, with a stand-in for the workers that would capture. */

class FakeWorkers {
  readonly total = 2;
  readonly addresses = ['127.0.0.1:1'];
  readonly orders: CaptureOrder[] = [];
  readonly captures = new Map<number, CaptureProgress>();
  refusal = '';
  /** Starts wait for it. */
  gate = Promise.resolve();

  runningNumbers = (): number[] => [0, 1];

  async askOne(worker: number, kind: string, body: object): Promise<CaptureProgress | undefined> {
    if (kind === 'captureStart') {
      await this.gate;
      if (this.refusal !== '') throw new Error(this.refusal);
      this.orders.push(body as CaptureOrder);
      this.captures.set(worker, { state: 'running', error: '', commands: 5, results: 5, bytes: 100, buffered: 0, sessions: 1, waiting: 0, leftOut: { secret: 1 }, incomplete: {} });
    }
    const capture = this.captures.get(worker);
    if (kind === 'captureStop') this.captures.delete(worker);
    if (kind === 'captureStop' && capture?.state === 'running') return { ...capture, state: 'done', commands: 7 };
    return capture;
  }
}

interface ShownJob extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly state: string;
  readonly commands: number;
}

let folder: string;
let redis: RedisServer;
let nodes: Proxy[] = [];

class Proxy {
  constructor(
    readonly running: RunningNode,
    readonly workers: FakeWorkers,
  ) {}

  static async start(id: string, root = join(folder, 'captures'), toml: (config: NodeConfig) => void = () => {}): Promise<Proxy> {
    const workers = new FakeWorkers();
    @Module({
      controllers: [TrafficController, TrafficAgentController],
      providers: [
        { provide: ProxySettings, useFactory: settingsOfNode, inject: [NodeContext] },
        { provide: AgentClient, useFactory: (node: NodeContext) => new AgentClient(node), inject: [NodeContext] },
        ProxyPeers,
        { provide: SqlProxy, useValue: { workers } },
        TrafficJobs,
      ],
    })
    class TrafficModule {}
    const config = new NodeConfig();
    config.dataDir = join(folder, 'data');
    config.log.level = process.env['PROXY_LOG'] ?? 'silent';
    Object.assign(config.node, { id, port: 0 });
    config.redis.url = redis.url;
    config.proxy.trafficRoots = [root];
    toml(config);
    const node = new Proxy(await startNode({ roles: ['proxy'], modules: [TrafficModule], defaultPort: 0 }, config), workers);
    nodes.push(node);
    return node;
  }

  async ask(method: string, path: string, form?: Readonly<Record<string, string>>): Promise<{ status: number; type: string; text: string }> {
    const headers = { [clusterSecretHeader]: this.running.context.clusterSecret, [dialectHeader]: 'tiproxy' };
    const answer = await fetch(`http://${this.running.address}/api/traffic/${path}`, { method, headers, ...(form !== undefined && { body: new URLSearchParams(form) }) });
    return { status: answer.status, type: answer.headers.get('content-type') ?? '', text: await answer.text() };
  }

  async jobs(): Promise<readonly ShownJob[]> {
    return JSON.parse((await this.ask('GET', 'show')).text) as ShownJob[];
  }
}

async function twoNodes(): Promise<[Proxy, Proxy]> {
  const pair: [Proxy, Proxy] = [await Proxy.start('p1'), await Proxy.start('p2')];
  await waitUntil(() => pair.every(({ running }) => running.context.directory.byRole('proxy').length === 2), { what: 'they know each other' });
  return pair;
}

const output = (name: string): string => join(folder, 'captures', name);

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'binnacle-traffic-jobs-')));
  mkdirSync(join(folder, 'captures'));
  redis = await startRedis();
}, 60_000);
afterEach(async () => {
  await Promise.all(nodes.map(({ running }) => running.stop()));
  nodes = [];
}, 60_000);
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test('a capture runs on all workers of all proxy nodes at the same time, and is shown in TiProxy\'s fields by each of them', async () => {
  const [first, second] = await twoNodes();
  expect(await first.ask('GET', 'show')).toMatchObject({ status: 200, type: 'application/json; charset=utf-8', text: '[]' });
  expect(await first.ask('POST', 'capture', { output: output('a'), duration: '1h', 'explain-username': 'e', 'explain-password': 'hunter2' })).toEqual({
    status: 200,
    type: 'text/plain; charset=utf-8',
    text: 'capture started',
  });
  for (const { workers, running } of [first, second]) {
    const { id } = running.context;
    expect(workers.orders.map((order) => order.output).sort()).toEqual([output(`a/${id}-w0`), output(`a/${id}-w1`)]);
    expect(workers.orders[0]).toMatchObject({ compress: true });
  }
  for (const node of [first, second]) {
    const shown = await node.ask('GET', 'show');
    expect(shown.text).not.toContain('hunter2');
    const [job] = JSON.parse(shown.text) as [ShownJob];
    expect(Object.keys(job).slice(0, 7)).toEqual(['type', 'status', 'start_time', 'progress', 'output', 'duration', 'compress']);
    expect(job).toMatchObject({ type: 'capture', status: 'running', progress: '0%', output: output('a'), duration: '1h0m0s', compress: true, node: 'p1', state: 'running' });
  }
  // The other node ends it.
  const stopped = await second.ask('POST', 'cancel', { type: 'capture', graceful: 'true' });
  expect(stopped.text).toMatch(/^stopped: \{"type":"capture","status":"canceled",.*"error":"manually stopped"/);
  expect((await second.jobs())[0]).toMatchObject({ state: 'canceled', commands: 28, leftOut: { secret: 4 }, parts: { 'p2-w1': output('a/p2-w1') } });
  expect(await first.ask('POST', 'cancel')).toMatchObject({ status: 200, text: 'no job running' });
}, 60_000);

test('a second job is refused, of either type and by either node, with the job that runs', async () => {
  const [first, second] = await twoNodes();
  await first.ask('POST', 'capture', { output: output('b'), duration: '1h' });
  for (const node of [first, second]) {
    const refused = await node.ask('POST', 'capture', { output: output('c'), duration: '1h' });
    expect(refused).toMatchObject({ status: 409, type: 'text/plain; charset=utf-8' });
    expect(refused.text).toMatch(/^start capture failed: a job is running: \{"type":"capture","status":"running",.*"node":"p1"/);
  }
  expect((await second.ask('POST', 'replay', { input: output('b'), username: 'u' })).text).toMatch(/^start replay failed: a job is running: /);
  expect(await second.ask('POST', 'cancel', { type: 'replay' })).toMatchObject({ status: 200, text: 'no privilege to stop the job' });
  expect((await first.jobs()).at(-1)).toMatchObject({ state: 'running' });
  await first.ask('POST', 'cancel');
  expect(await second.ask('POST', 'capture', { output: output('c'), duration: '1h' })).toMatchObject({ status: 200 });
}, 60_000);

test('it ends by its duration', async () => {
  const first = await Proxy.start('p1');
  await first.ask('POST', 'capture', { output: output('d'), duration: '300ms' });
  await waitUntil(async () => (await first.jobs()).at(-1)?.state === 'done', { what: 'it is done' });
  expect((await first.jobs()).at(-1)).toMatchObject({ status: 'done', progress: '100%', commands: 14 });
  expect((await first.jobs()).at(-1)).not.toHaveProperty('error');
}, 30_000);

describe('it ends everywhere when a part of it', () => {
  const cases: [string, (workers: FakeWorkers) => void, string][] = [
    ['cannot keep up', ({ captures }) => captures.set(1, { ...captures.get(1)!, state: 'failed', error: 'the disk is too slow' }), 'worker 1 of proxy node p2: the disk is too slow'],
    ['dies', ({ captures }) => captures.delete(0), 'worker 0 of proxy node p2 died: what its sessions did since then is missing'],
  ];
  test.each(cases)('%s', async (what, fail, error) => {
    const [first, second] = await twoNodes();
    await first.ask('POST', 'capture', { output: output(`e ${what}`), duration: '1h' });
    fail(second.workers);
    await waitUntil(async () => (await first.jobs()).at(-1)?.state === 'failed', { what: 'it failed' });
    expect((await second.jobs()).at(-1)).toMatchObject({ status: 'canceled', error });
    expect([first, second].map(({ workers }) => workers.captures.size)).toEqual([0, 0]);
  }, 60_000);
});

test('when one node cannot begin, none does, and the words are those of that node', async () => {
  const [first, second] = await twoNodes();
  second.workers.refusal = 'no space left on device';
  expect(await first.ask('POST', 'capture', { output: output('f'), duration: '1h' })).toEqual({ status: 400, type: 'text/plain; charset=utf-8', text: 'start capture failed: proxy node p2: no space left on device' });
  expect(first.workers.captures.size).toBe(0);
  expect((await first.jobs()).filter(({ state }) => state === 'running')).toEqual([]);
  second.workers.refusal = '';
  expect((await first.ask('POST', 'capture', { output: output('f'), duration: '1h' })).status).toBe(200);
}, 60_000);

test('a capture that is still about to begin is shown, and can be ended', async () => {
  const [first, second] = await twoNodes();
  let open = (): void => {};
  second.workers.gate = new Promise((resolve) => (open = resolve));
  const started = first.ask('POST', 'capture', { output: output('slow'), duration: '1h' });
  await waitUntil(async () => (await second.jobs()).at(-1)?.state === 'running', { what: 'it is shown' });
  const stopped = second.ask('POST', 'cancel');
  await waitUntil(() => first.running.app.get(TrafficJobs).isEnding, { what: 'the cancel has come' });
  open();
  expect((await stopped).text).toMatch(/^stopped: .*"error":"manually stopped"/);
  expect(await started).toMatchObject({ status: 409, text: 'start capture failed: it was ended while it began' });
  expect([first, second].map(({ workers }) => workers.captures.size)).toEqual([0, 0]);
  expect((await second.jobs()).filter(({ state }) => state === 'running')).toEqual([]);
  second.workers.gate = Promise.resolve();
  expect((await second.ask('POST', 'capture', { output: output('slow'), duration: '1h' })).status).toBe(200);
}, 60_000);

test('a proxy node that shuts down leaves the capture, which goes on; the one that runs it ends it', async () => {
  const [first, second] = await twoNodes();
  await first.ask('POST', 'capture', { output: output('g'), duration: '1h' });
  await second.running.stop();
  await waitUntil(async () => ((await first.jobs()).at(-1)?.['notes'] as unknown[] | undefined)?.length === 1, { what: 'it is told' });
  expect((await first.jobs()).at(-1)).toMatchObject({ state: 'running', commands: 24, notes: [expect.stringMatching(/^proxy node p2 shut down at /)] });
  await first.running.stop();
  const third = await Proxy.start('p3');
  expect((await third.jobs()).at(-1)).toMatchObject({ state: 'canceled', error: 'shutting down', commands: 28 });
}, 60_000);

test('a job whose node has started anew is told as failed, and the next one can begin', async () => {
  const first = await Proxy.start('p1');
  const { context } = first.running;
  const orphan = { id: 'capture-20260101T000000Z-00000000', type: 'capture', state: 'running', node: 'p1', incarnation: 'an earlier one', startedAtMs: 1, progress: 10, error: '', notes: [], output: '/x', durationMs: 1_000, compress: true, encryptMethod: '', layers: 'compress-first', captured: {}, parts: {} };
  const { document } = await context.state.readDocument('proxy-traffic-jobs');
  await context.state.writeDocument({ key: 'proxy-traffic-jobs', value: JSON.stringify([orphan]), expectedVersion: document?.version ?? 0, requestId: 'test' });
  await waitUntil(async () => (await first.jobs()).at(-1)?.id === orphan.id, { what: 'the list is heard of' });
  expect((await first.jobs()).at(-1)).toMatchObject({ status: 'canceled', state: 'failed', error: 'proxy node p1 died, or lost the cluster state, while it ran: what had been written by then can be replayed' });
  expect((await first.ask('POST', 'capture', { output: output('h'), duration: '1h' })).status).toBe(200);
}, 30_000);

test('what is wrong with a request is 400 in TiProxy\'s words, and no job begins', async () => {
  const first = await Proxy.start('p1');
  mkdirSync(output('full'), { recursive: true });
  writeFileSync(join(output('full'), 'meta'), '{}');
  for (const part of ['another', 'p1-w3']) {
    mkdirSync(output(`parts of ${part}/${part}`), { recursive: true });
    writeFileSync(join(output(`parts of ${part}`), part, 'meta'), '{}');
  }
  const cases: [string, Record<string, string>, string][] = [
    ['capture', {}, 'start capture failed: output is required'],
    ['capture', { output: '/etc', duration: '1h' }, `start capture failed: output must lie in one of the folders or buckets that proxy.traffic-roots names: ${folder}/captures`],
    ['capture', { output: output('full'), duration: '1h' }, `start capture failed: file meta already exists in ${output('full')}, please remove it before capture`],
    ['capture', { output: output('parts of another'), duration: '1h' }, `start capture failed: file meta already exists in ${output('parts of another')}/another, please remove it before capture`],
    ['capture', { output: output('parts of p1-w3'), duration: '1h' }, `start capture failed: file meta already exists in ${output('parts of p1-w3')}/p1-w3, please remove it before capture`],
    ['capture', { output: output('i'), duration: '1h', 'encrypt-method': 'aes256-ctr' }, 'start capture failed: failed to load encryption key: security.encryption-key-path is not set'],
    ['replay', { input: output('i') }, 'start replay failed: username is required'],
    ['replay', { input: '/etc', username: 'u' }, `start replay failed: input must lie in one of the folders or buckets that proxy.traffic-roots names: ${folder}/captures`],
    ['cancel', { type: 'all' }, 'cancel failed: type is capture or replay, not "all"'],
  ];
  for (const [path, form, text] of cases) expect(await first.ask('POST', path, form)).toEqual({ status: 400, type: 'text/plain; charset=utf-8', text });
  expect((await first.ask('GET', 'report')).text).toBe('report failed: no replay has a report yet');
  expect(first.workers.orders).toEqual([]);
  await first.running.context.settings.update((current) => Object.assign(current, { proxy: { 'proxy.enable-traffic-replay': false } }));
  await waitUntil(async () => (await first.ask('GET', 'show')).status === 400, { what: 'it is switched off' });
  expect(await first.ask('POST', 'capture', { output: output('i'), duration: '1h' })).toMatchObject({ status: 400, text: 'traffic capture is disabled' });
}, 30_000);
