import { expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { startGalera } from './galera.js';
import { waitUntil } from './wait-until.js';

test('a pair takes writes on both sides, a node joins again after a stop and after a kill, and nothing is left behind', async () => {
  const cluster = await startGalera();
  try {
    const [first, second] = [cluster.nodes[0]!, cluster.nodes[1]!];
    await first.sql('CREATE TABLE test.t (id INT PRIMARY KEY)');
    await second.sql('INSERT INTO test.t VALUES (1)');
    expect(await first.sql('SET SESSION wsrep_sync_wait=1; SELECT id FROM test.t')).toBe('1\n');

    await second.shutDown();
    await first.sql('INSERT INTO test.t VALUES (2)');
    await second.restart();
    await first.kill9();
    // Until the survivor has missed the killed node, writes wait or are refused.
    await waitUntil(async () => (await second.clusterSize()) === 1, { what: 'the survivor is alone' });
    await second.sql('INSERT INTO test.t VALUES (3)');
    await first.restart();
    for (const node of cluster.nodes) {
      expect(await node.sql('SET SESSION wsrep_sync_wait=1; SELECT id FROM test.t')).toBe('1\n2\n3\n');
      expect(await node.clusterSize()).toBe(2);
    }
  } finally {
    await cluster.stop();
  }
  expect(existsSync(cluster.folder)).toBe(false);
}, 120_000);
