import { expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { startMariadb } from './mariadb-server.js';
import { waitUntil } from './wait-until.js';

test('a server keeps its rows over a restart, a replica follows it, and both leave nothing behind', async () => {
  const source = await startMariadb({ args: ['--max-connections=20'] });
  const replica = await startMariadb({ replicaOf: source });
  try {
    await source.sql('CREATE TABLE test.t (id INT PRIMARY KEY); INSERT INTO test.t VALUES (1)');
    const rows = (): Promise<string> => replica.sql('SELECT id FROM test.t').catch(() => '');
    await waitUntil(async () => (await rows()) === '1\n', { what: 'the row reaches the replica' });
    expect(await source.sql('SELECT @@max_connections')).toBe('20\n');
    await source.shutDown();
    await source.restart();
    expect(await source.sql('SELECT id FROM test.t')).toBe('1\n');
  } finally {
    await Promise.all([source.stop(), replica.stop()]);
  }
  expect([existsSync(source.folder), existsSync(replica.folder)]).toEqual([false, false]);
}, 60_000);
