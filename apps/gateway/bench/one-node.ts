import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/* The node behind the proxies of the benchmark: the least that Node.js can answer, so that it is the proxies that are measured. */

const body = Buffer.from(JSON.stringify({ ok: true, leases: [{ name: 'leader', term: 7, owner: 'storage-0' }] }));
const server = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => {
  response.writeHead(200, ['content-type', 'application/json; charset=utf-8', 'content-length', String(body.length)]).end(body);
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.once('disconnect', () => process.exit());
