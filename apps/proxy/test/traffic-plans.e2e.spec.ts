import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { explainRecords, type ExplainedPlan } from '../src/traffic/plans/explain-records.js';
import { openBackend } from '../src/traffic/replay/replay-connection.js';
import { readTarget } from '../src/traffic/replay/replay-target.js';
import { HandWrittenCapture, targetAt } from './hand-written-capture.js';

let server: MariadbServer;

beforeAll(async () => {
  server = await startMariadb();
  await server.sql('CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, price INT, KEY by_price (price)); INSERT INTO items SELECT seq, seq FROM seq_1_to_1000');
}, 120_000);

afterAll(() => server?.stop());

async function explained(capture: HandWrittenCapture): Promise<ExplainedPlan[]> {
  const target = targetAt(server.port);
  return explainRecords({ records: capture.records(), open: () => openBackend(target, 45, 0), facts: await readTarget(target), timeoutMs: 30_000 });
}

test('the first example of each digest that reads is explained in its database, prepared ones with their values', async () => {
  const capture = new HandWrittenCapture(targetAt(server.port));
  await capture.query(7, 'USE shop');
  await capture.query(7, 'SELECT id FROM items WHERE price = 5');
  await capture.query(7, 'SELECT id FROM items WHERE price = 6');
  await capture.query(8, 'SELECT COUNT(*) FROM shop.items');
  await capture.query(7, 'DELETE FROM items WHERE id = -1');
  await capture.query(7, 'SELECT id FROM items WHERE price = 5 FOR UPDATE');
  await capture.query(7, 'SELECT nothing FROM items');
  const statement = await capture.prepare(7, 'SELECT * FROM items WHERE id = ?');
  for (const value of [3, 4]) await capture.execute(7, statement, [value]);
  await capture.end();
  const before = await explained(capture);
  expect(before.map(({ text }) => text)).toEqual(['select id from items where price = ?', 'select count ( * ) from shop . items', 'select * from items where id = ?']);
  expect(before.map(({ plan }) => plan)).toEqual(['1 SIMPLE items ref key=by_price Using index', expect.stringMatching(/^1 SIMPLE items index key=/), '1 SIMPLE items const key=PRIMARY']);
  await server.sql('DROP INDEX by_price ON shop.items');
  const after = await explained(capture);
  expect([after[0]!.plan, after[2]!.plan]).toEqual(['1 SIMPLE items ALL Using where', before[2]!.plan]);
});
