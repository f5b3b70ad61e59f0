import { expect, test } from '@jest/globals';
import { startGalera } from '@binnacle/testing/galera';
import { createConnection, type Connection } from 'mysql2/promise';
import { startProxy } from './proxy-process.js';
import { restartBackend } from './rolling-restart.js';

const clients = 8;

/** Transactions on rows of its own, so that Galera has nothing to object, until it is told to stop. */
class Worker {
  transactions = 0;
  stopped = false;
  readonly #client: Connection;
  readonly #row: number;

  constructor(client: Connection, row: number) {
    this.#client = client;
    this.#row = row;
  }

  async run(): Promise<void> {
    while (!this.stopped) {
      await this.#client.beginTransaction();
      for (let i = 0; i < 3; i++) await this.#client.execute('SELECT n FROM accounts WHERE id = ?', [this.#row]);
      await this.#client.execute('UPDATE accounts SET n = n + 1 WHERE id = ?', [this.#row]);
      await this.#client.commit();
      this.transactions += 1;
    }
  }
}

test('every backend restarts under load, and no client notices or loses a transaction', async () => {
  const cluster = await startGalera();
  const proxy = await startProxy({ backends: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) });
  const connections: Connection[] = [];
  try {
    await cluster.nodes[0]!.sql(`CREATE TABLE test.accounts (id INT PRIMARY KEY, n INT); INSERT INTO test.accounts SELECT seq, 0 FROM test.seq_1_to_${clients}`);
    for (let i = 0; i < clients; i++) connections.push(await createConnection({ host: '127.0.0.1', port: proxy.port, user: 'root', password: 'root', database: 'test' }));
    const workers = connections.map((connection, index) => new Worker(connection, index + 1));
    const running = Promise.all(workers.map((worker) => worker.run()));
    // A failure of theirs is looked at behind the restarts.
    running.catch(() => {});
    for (const node of cluster.nodes) {
      const { sessionsBefore, left } = await restartBackend(proxy, node, 10_000);
      expect(left).toEqual({});
      expect(sessionsBefore).toBeGreaterThan(0);
    }
    for (const worker of workers) worker.stopped = true;
    await running;
    const counted = (await cluster.nodes[0]!.sql('SET SESSION wsrep_sync_wait = 1; SELECT n FROM test.accounts ORDER BY id')).trim().split('\n').map(Number);
    expect(counted).toEqual(workers.map(({ transactions }) => transactions));
    expect(Math.min(...counted)).toBeGreaterThan(0);
  } finally {
    for (const connection of connections) connection.destroy();
    await proxy.stop();
    await cluster.stop();
  }
}, 90_000);
