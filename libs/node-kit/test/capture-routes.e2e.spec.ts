import { execFileSync } from 'node:child_process';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { waitUntil } from '@binnacle/testing/wait-until';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ask, askAsNode, clusterSecret, testConfig } from './testable-node.js';

let node: RunningNode;
let at: string;

beforeAll(async () => {
  node = await startNode({ roles: ['storage'], modules: [], defaultPort: 0 }, testConfig());
  at = node.address;
});
afterAll(async () => node.stop());

const post = (path: string, body: object = {}) => askAsNode(at, `/agent/v1/${path}`, { method: 'POST', body: JSON.stringify(body) });
const cpu = (seconds: number) => post('capture/cpu', { seconds, frequencyHz: 99 });
const codeOf = ({ text }: { text: string }) => (JSON.parse(text) as { error: { code: string; message: string } }).error;

test('nobody captures without the cluster secret', async () => {
  for (const path of ['capture/cpu', 'capture/v8-heap', 'capture/native-heap', 'capture/trace', 'symbols', 'purge']) {
    expect((await ask(at, `/agent/v1/${path}`, { method: 'POST', body: '{}' })).status).toBe(401);
  }
  for (const path of ['memory-status', 'cmdline']) expect((await ask(at, `/agent/v1/${path}`)).status).toBe(401);
  expect((await ask(at, '/agent/v1/prof-active', { method: 'PUT', body: '{"active":true}' })).status).toBe(401);
});

test.each([
  ['capture/cpu', { seconds: 0, frequencyHz: 99 }, 'seconds'],
  ['capture/cpu', { seconds: 1, frequencyHz: 99_999 }, 'frequencyHz'],
  ['capture/cpu', { seconds: 'abc', frequencyHz: 1.5 }, 'seconds'],
  ['capture/cpu', { seconds: 1, frequencyHz: 99, command: 'x' }, 'command'],
  ['capture/v8-heap', { seconds: -1 }, 'seconds'],
  ['capture/trace', { seconds: 121 }, 'seconds'],
  ['symbols', { addresses: ['0x1', 'rm -rf'] }, 'addresses'],
  ['symbols', { addresses: Array(10_001).fill('1') }, 'addresses'],
] as const)('%s refuses %j', async (path, body, named) => {
  const answer = await post(path, body);
  expect(answer.status).toBe(400);
  expect(codeOf(answer)).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(named) });
});

test('a CPU profile and a heap are gzipped pprof, a trace is JSON', async () => {
  for (const answer of [await cpu(0.1), await post('capture/v8-heap', { seconds: 0.1 })]) {
    expect(answer.status).toBe(200);
    expect(answer.text.charCodeAt(0)).toBe(0x1f);
  }
  expect(JSON.parse((await post('capture/trace', { seconds: 0.1 })).text)).toHaveProperty('traceEvents');
});

test('a second capture at the same time is refused', async () => {
  const first = cpu(2);
  await waitUntil(async () => (await cpu(0.1)).status === 409, { what: 'a capture to be refused' });
  expect((await first).status).toBe(200);
  expect((await cpu(0.1)).status).toBe(200);
});

test('a client that goes away takes its capture with it', async () => {
  const abandoned = request(`http://${at}/agent/v1/capture/cpu`, { method: 'POST', agent: false, headers: { [clusterSecretHeader]: clusterSecret, 'content-type': 'application/json' } });
  abandoned.on('error', () => undefined);
  abandoned.end('{"seconds":600,"frequencyHz":99}');
  await waitUntil(async () => (await cpu(0.1)).status === 409, { what: 'the capture to run' });
  abandoned.destroy();
  await waitUntil(async () => (await cpu(0.1)).status === 200, { what: 'the capture to have ended' });
});

test('the heap of this moment needs sampling, which is switched on and off', async () => {
  const setActive = (active: boolean) => askAsNode(at, '/agent/v1/prof-active', { method: 'PUT', body: JSON.stringify({ active, source: 'v8' }) });
  const refused = await post('capture/v8-heap', { seconds: 0 });
  expect([refused.status, codeOf(refused).message]).toEqual([400, expect.stringContaining('set_prof_active')]);
  expect((await setActive(true)).status).toBe(200);
  expect((await setActive(true)).status).toBe(200);
  expect((await post('capture/v8-heap', { seconds: 0 })).status).toBe(200);
  expect((await setActive(false)).status).toBe(200);
  expect((await post('capture/v8-heap', { seconds: 0 })).status).toBe(400);
});

test('what needs jemalloc says how to get it, and starts nothing by halves', async () => {
  const put = (body: object) => askAsNode(at, '/agent/v1/prof-active', { method: 'PUT', body: JSON.stringify(body) });
  for (const answer of [await post('capture/native-heap'), await post('purge'), await askAsNode(at, '/agent/v1/memory-status'), await put({ active: true })]) {
    expect(answer.status).toBe(503);
    expect(codeOf(answer)).toMatchObject({ code: 'CAPABILITY_MISSING', message: expect.stringContaining('apt-get install libjemalloc2') });
  }
  expect((await post('capture/v8-heap', { seconds: 0 })).status).toBe(400);
});

test('addresses have names, or ??', async () => {
  expect(JSON.parse((await post('symbols', { addresses: ['0x10', '20'] })).text)).toEqual({ names: ['??', '??'] });
});

test('the command line has no secrets in it', async () => {
  const { cmdline } = JSON.parse((await askAsNode(at, '/agent/v1/cmdline')).text) as { cmdline: string[] };
  expect(cmdline[0]).toBe(process.argv[0]);
  expect(cmdline.slice(-process.argv.length + 1)).toEqual(process.argv.slice(1));
});

test('a node that stops ends its captures at once and says so', async () => {
  const stopping = await startNode({ roles: ['storage'], modules: [], defaultPort: 0 }, testConfig());
  const capture = (seconds: number) => askAsNode(stopping.address, '/agent/v1/capture/trace', { method: 'POST', body: JSON.stringify({ seconds }) });
  const running = capture(120);
  await waitUntil(async () => (await capture(0.1)).status === 409, { what: 'the capture to run' });
  await stopping.stop();
  const answer = await running;
  expect([answer.status, codeOf(answer).code]).toEqual([503, 'NO_TARGET']);
});

test('an idle node has loaded neither the profiler nor its bindings', () => {
  const script = `
    import { startNode } from ${JSON.stringify(new URL('../dist/run-node.js', import.meta.url).href)};
    import { NodeConfig } from ${JSON.stringify(new URL('../dist/config.js', import.meta.url).href)};
    import { readFileSync } from 'node:fs';
    const config = new NodeConfig();
    config.dataDir = ${JSON.stringify(testConfig().dataDir)};
    config.node.port = 0;
    config.log.level = 'silent';
    const node = await startNode({ roles: ['storage'], modules: [], defaultPort: 0 }, config);
    const bindings = () => readFileSync('/proc/self/maps', 'utf8').match(/pprof|koffi|dd_pprof/g)?.length ?? 0;
    const idle = bindings();
    await fetch('http://' + node.address + '/agent/v1/capture/cpu', { method: 'POST', headers: { 'content-type': 'application/json', '${clusterSecretHeader}': node.context.clusterSecret }, body: '{"seconds":0.1,"frequencyHz":99}' });
    console.log(JSON.stringify({ idle, captured: bindings() }));
    await node.stop();`;
  const { idle, captured } = JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 60_000 })) as Record<string, number>;
  expect(idle).toBe(0);
  expect(captured).toBeGreaterThan(0);
});
