import type { AddressInfo } from 'node:net';
import proxy from '@fastify/http-proxy';
import fastify from 'fastify';

/* Bare @fastify/http-proxy with its defaults, in front of the same node. */

const app = fastify();
await app.register(proxy, { upstream: `http://127.0.0.1:${process.env['NODE_PORT']}` });
await app.listen({ host: '127.0.0.1', port: 0 });
process.send?.({ port: (app.server.address() as AddressInfo).port });
process.once('disconnect', () => process.exit());
