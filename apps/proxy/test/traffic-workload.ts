import { Command } from '@binnacle/mysql-wire/command';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { WireClient } from './wire-client.js';

/* What an application does in a day, in a second: the workload that tests capture and replay. Every server that it is replayed to begins as `schema` makes it. */

/** Rows are many enough that an index makes a plan of its own. */
export const schema = `
  USE test;
  DROP TABLE IF EXISTS test.orders, test.customers, test.notes;
  CREATE TABLE test.customers (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, city VARCHAR(20) NOT NULL, KEY by_city (city));
  CREATE TABLE test.orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(10,2) NOT NULL, note VARCHAR(10), KEY by_customer (customer));
  CREATE TABLE test.notes (id INT PRIMARY KEY, body LONGBLOB);
  INSERT INTO test.customers SELECT seq, CONCAT('customer ', seq), CONCAT('city ', seq % 50) FROM seq_1_to_2000;
  INSERT INTO test.orders (customer, amount) SELECT seq % 2000 + 1, seq / 7 FROM seq_1_to_5000;
  ANALYZE TABLE test.customers, test.orders;
`;

/** Runs all of it once, through a proxy or past it. Errors that belong to it are swallowed. */
export async function runWorkload(port: number): Promise<void> {
  const open = (): Promise<Connection> => createConnection({ host: '127.0.0.1', port, user: 'root', password: 'root', database: 'test', multipleStatements: true });
  const [first, second] = [await open(), await open()];
  try {
    await reads(first);
    await preparedStatements(first);
    await transactions(first, second);
    await errors(first);
    await cursor(port);
  } finally {
    await Promise.all([first.end(), second.end()]);
  }
}

async function reads(client: Connection): Promise<void> {
  for (let city = 0; city < 30; city++) {
    await client.query('SELECT id, name FROM customers WHERE city = ?', [`city ${city}`]);
    await client.query(`SELECT c.name, SUM(o.amount) AS total FROM customers c JOIN orders o ON o.customer = c.id WHERE c.city = 'city ${city}' GROUP BY c.id ORDER BY total DESC, c.id LIMIT 5`);
  }
  await client.query('SELECT NOW(6), CONNECTION_ID(), UUID()');
  await client.query('SELECT 1; SELECT name FROM customers WHERE id = 3; SELECT 2');
  await client.query("SET @city = 'city 7'");
  await client.query('SELECT COUNT(*) FROM customers WHERE city = @city');
  await client.query("SELECT x'00ff0a', 'a\\nb', NULL, 1.5e10, DATE'2026-11-21'");
}

async function preparedStatements(client: Connection): Promise<void> {
  for (let id = 1; id <= 40; id++) {
    await client.execute('SELECT name, city FROM customers WHERE id = ?', [id * 7]);
    if (id % 4 === 0) await client.execute('INSERT INTO orders (customer, amount, note) VALUES (?, ?, ?)', [id, id * 1.5, id % 8 === 0 ? null : 'new']);
  }
  const statement = await client.prepare('SELECT COUNT(*) AS n FROM orders WHERE amount > ?');
  for (const amount of [1, 100, 500]) await statement.execute([amount]);
  await statement.close();
}

async function transactions(first: Connection, second: Connection): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await first.beginTransaction();
    await first.query('UPDATE orders SET amount = amount + 1 WHERE customer = ?', [round + 10]);
    const [rows] = await first.query<RowDataPacket[]>('SELECT amount FROM orders WHERE customer = ? FOR UPDATE', [round + 10]);
    if (rows.length === 0) throw new Error('the workload finds no orders');
    await (round % 2 === 0 ? first.commit() : first.rollback());
    // What nobody writes: sessions are not kept in order with each other closer than their times are apart.
    await second.query('SELECT SUM(amount) FROM orders WHERE customer = ?', [round + 1_000]);
  }
}

async function errors(client: Connection): Promise<void> {
  const failing = [
    'SELECT * FROM missing_table',
    'INSERT INTO customers (id, name, city) VALUES (1, "twice", "x")',
    'INSERT INTO orders (customer, amount, note) VALUES (1, 1, "longer than ten characters")',
    'SELEKT 1',
  ];
  for (const text of failing) await client.query(text).catch(() => undefined);
}

/** Rows of a prepared statement in pieces, and a value sent ahead: what drivers for Java and C do. */
async function cursor(port: number): Promise<void> {
  const client = await WireClient.login({ port, user: 'root', password: 'root', database: 'test', capabilities: 0 });
  try {
    const [prepared] = await client.send(Command.stmtPrepare, 'SELECT id, name FROM customers WHERE city = ? ORDER BY id');
    const id = prepared!.subarray(1, 5);
    const value = Buffer.from('city 9');
    const execute = Buffer.concat([id, Buffer.from([1, 1, 0, 0, 0, 0, 1, 253, 0, value.length]), value]);
    await client.send(Command.stmtExecute, execute);
    for (let fetched = 0; fetched < 40; fetched += 15) await client.send(Command.stmtFetch, Buffer.concat([id, Buffer.from([15, 0, 0, 0])]));
    await client.send(Command.stmtReset, id);
  } finally {
    client.close();
  }
}
