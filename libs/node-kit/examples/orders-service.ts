import fastify from 'fastify';
import { mountNodeKit } from '@binnacle/node-kit/mount';

const app = fastify();
app.get('/orders', async () => [{ id: 1, total: 42 }]);
await mountNodeKit(app, { role: 'orders' });
await app.listen({ port: Number(process.env.PORT ?? 3000) });
process.once('SIGTERM', () => void app.close());
