/*
 * The peer of `point-reads.bench.ts`: the bare rocksdb-native binding in a process of its own. Over IPC: says its port once it holds the rows,
 * `{ reads, inFlight }` has it read that many in this process and answer with the milliseconds; over HTTP `GET /ID` with the least that Node.js can do.
 *   node raw-reads.mjs FOLDER ROWS
 */
import { createServer } from 'node:http';
import RocksDB from 'rocksdb-native';

const [folder, rows] = [process.argv[2], Number(process.argv[3])];
const db = new RocksDB(folder);
await db.ready();
const text = 'x'.repeat(170);
for (let first = 0; first < rows; first += 1_000) {
  const batch = db.write({ capacity: 1_000, autoDestroy: true });
  for (let id = first; id < Math.min(rows, first + 1_000); id++) batch.tryPut(Buffer.from(`row${id}`), Buffer.from(`{"id":"row${id}","text":"${text}"}`));
  await batch.flush();
}
await db.flush();

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  db.get(Buffer.from(request.url.slice(1))).then((row) => {
    response.writeHead(row === null ? 404 : 200, { 'content-type': 'application/json; charset=utf-8', 'content-length': row?.length ?? 0 }).end(row);
  });
});
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

process.on('message', async ({ reads, inFlight }) => {
  const startMs = performance.now();
  let left = reads;
  const reader = async () => {
    while (left-- > 0) if ((await db.get(Buffer.from(`row${Math.floor(Math.random() * rows)}`))) === null) throw new Error('a row is missing');
  };
  await Promise.all(Array.from({ length: inFlight }, reader));
  process.send({ ms: performance.now() - startMs });
});
process.once('disconnect', () => process.exit());
