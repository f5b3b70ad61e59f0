import { expect, test } from '@jest/globals';
import type { NodeRecord } from '@binnacle/cluster-state/cluster-state';
import type { AgentClient } from '@binnacle/node-kit/agent-client';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { failureText, NodeChecks } from './node-checks.js';

const record = (id: string, incarnation = 'a', state: NodeRecord['state'] = 'running') => ({ id, incarnation, state }) as NodeRecord;

function checksOver(answer: () => Promise<{ status: number; body: unknown }>) {
  const registry: { nodes: NodeRecord[] } = { nodes: [] };
  const asked: string[] = [];
  const clock = new FakeClock();
  const node = { clock, config: new NodeConfig(), directory: { all: () => registry.nodes } } as unknown as NodeContext;
  const agent = {
    request: async (target: NodeRecord) => {
      asked.push(target.id);
      return answer();
    },
  } as unknown as AgentClient;
  return { registry, asked, clock, checks: new NodeChecks(node, agent) };
}

const healthy = async () => ({ status: 200, body: { ok: [], failed: [] } });

test('checks come and go with the nodes; one that is stopping has none', () => {
  const { registry, checks } = checksOver(healthy);
  registry.nodes = [record('a'), record('b'), record('c', 'a', 'stopping')];
  expect(checks.current().map(({ name }) => name)).toEqual(['node a', 'node b']);
  registry.nodes = [record('b')];
  expect(checks.current().map(({ name }) => name)).toEqual(['node b']);
});

test('the same node keeps its check and its cached result; after a restart of the node it has a new one', async () => {
  const { registry, checks, asked, clock } = checksOver(healthy);
  registry.nodes = [record('a')];
  const [first] = checks.current();
  await first?.run();
  expect(checks.current()[0]).toBe(first);
  await checks.current()[0]?.run();
  expect(asked).toEqual(['a']);

  registry.nodes = [record('a', 'restarted')];
  await checks.current()[0]?.run();
  expect(asked).toEqual(['a', 'a']);

  await clock.advance(new NodeConfig().health.checkCacheMs);
  await checks.current()[0]?.run();
  expect(asked).toEqual(['a', 'a', 'a']);
});

test('a node that accepts and never answers has failed at the deadline', async () => {
  const { registry, checks, clock } = checksOver(() => new Promise(() => {}));
  registry.nodes = [record('hung')];
  const result = checks.current()[0]?.run();
  await clock.advance(new NodeConfig().health.checkDeadlineMs);
  expect(await result).toEqual({ name: 'node hung', ok: false, detail: 'no answer within 2000 ms' });
});

test('what a node says is wrong with it is passed on, in bounded length; nonsense is told as its status', () => {
  expect(failureText({ status: 500, body: { ok: [], failed: ['disk: 1.0 % free', 'memory: gone'] } })).toBe('disk: 1.0 % free; memory: gone');
  expect(failureText({ status: 500, body: { failed: ['x'.repeat(10_000)] } })).toHaveLength(500);
  for (const body of ['', null, {}, { failed: [] }, { failed: 'no' }]) expect(failureText({ status: 502, body })).toBe('answered 502 to /healthcheck');
});
