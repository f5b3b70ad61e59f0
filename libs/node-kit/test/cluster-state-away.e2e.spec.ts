import { expect, test } from '@jest/globals';
import { Module } from '@nestjs/common';
import { freePort } from '@binnacle/testing/free-port';
import { startRedis } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ask, askAsNode, testConfig } from './testable-node.js';

@Module({})
class NothingModule {}

function start(url: string, logLines: string[] = []): Promise<RunningNode> {
  const config = testConfig((change) => {
    change.redis.url = url;
    change.redis.timeoutMs = 1_500;
    change.log.level = 'info';
    change.log.format = 'json';
  });
  const logDestination = { write: (line: string) => void logLines.push(line) };
  return startNode({ roles: ['storage'], modules: [NothingModule], defaultPort: 7403 }, config, { logDestination });
}

test('a node whose Redis is away at the start is alive and not ready; it becomes ready by itself, and stays so when Redis goes again', async () => {
  const port = await freePort();
  const url = `redis://:pa55word@127.0.0.1:${port}`;
  const lines: string[] = [];
  const node = await start(url, lines);
  expect((await ask(node.address, '/livez')).status).toBe(200);
  const notYet = await ask(node.address, '/readyz?verbose');
  expect(notYet.status).toBe(503);
  expect(notYet.text).toMatch(/^\[\+\]store_status ok\n\[-\]cluster_state fail: not reached yet: .+\nfail\n$/);
  expect((await askAsNode(node.address, '/tiflash/readyz')).status).toBe(500);
  expect((await ask(node.address, '/metrics')).text).toContain('binnacle_cluster_state_available 0');

  const redis = await startRedis({ port, args: ['--requirepass', 'pa55word'] });
  await waitUntil(async () => (await ask(node.address, '/readyz')).status === 200, { what: 'the node is ready' });
  await waitUntil(() => node.context.directory.byId(node.context.id), { what: 'the node is in the registry' });

  await redis.kill9();
  await waitUntil(async () => (await ask(node.address, '/metrics')).text.includes('binnacle_cluster_state_available 0'));
  const without = await ask(node.address, '/readyz?verbose');
  expect(without.status).toBe(200);
  expect(without.text).toMatch(/^\[\+\]store_status ok\n\[\+\]cluster_state ok \(away for \d+ s: .+\)\nok\n$/);
  expect((await ask(node.address, '/livez')).status).toBe(200);
  // Its own health is not that of a dependency.
  expect((await askAsNode(node.address, '/healthcheck')).status).toBe(200);

  await node.stop();
  const away = lines.filter((line) => line.includes('cluster state is away'));
  expect(away.length).toBeLessThanOrEqual(2);
  expect(away.length).toBeGreaterThan(0);
  expect(lines.join('')).not.toContain('pa55word');
  await redis.stop();
});
