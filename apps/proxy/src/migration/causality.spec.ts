import { expect, test } from '@jest/globals';
import type { BackendConnection } from '../connection/backend-connection.js';
import { waitFor } from './causality.js';

/** A node of a Galera cluster that says one number of its last committed write set after the other. */
function galeraNode(...committed: number[]): BackendConnection {
  const query = async (sql: string): Promise<{ rows: Buffer[][] }> => {
    expect(sql).toContain('SHOW GLOBAL STATUS');
    const status = { wsrep_cluster_state_uuid: 'a-b-c', wsrep_ready: 'ON', wsrep_last_committed: `${committed.length > 1 ? committed.shift() : committed[0]}` };
    return Promise.resolve({ rows: Object.entries(status).map((row) => row.map((value) => Buffer.from(value))) });
  };
  return { backend: { id: 'node:1' }, query } as unknown as BackendConnection;
}

test('a Galera node that is behind is waited for, until the deadline', async () => {
  const position = { kind: 'galera', gtid: 'a-b-c:7' } as const;
  await waitFor(galeraNode(5, 6, 7), position, 1_000);
  await expect(waitFor(galeraNode(6), position, 30)).rejects.toMatchObject({ code: 'causality' });
  await expect(waitFor(galeraNode(9), { kind: 'galera', gtid: 'another:7' }, 30)).rejects.toMatchObject({ code: 'causality' });
});
