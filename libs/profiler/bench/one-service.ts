import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import fastify from 'fastify';
import type { captureCpuProfile } from '../src/cpu-profile.js';

/* A Fastify route as services have them. PROFILER=loaded loads the profiler as a node does, and leaves it alone. */

export interface Window {
  readonly cpuMs: number;
  readonly requests: number;
}

interface Command {
  readonly seconds: number;
  /** Samples a second; 0 takes no profile. */
  readonly frequencyHz: number;
}

let capture: typeof captureCpuProfile | undefined;
if (process.env['PROFILER'] === 'loaded') {
  const cpuProfile = (await import(new URL('../dist/cpu-profile.js', import.meta.url).href)) as { captureCpuProfile: typeof captureCpuProfile };
  await import(new URL('../dist/v8-heap.js', import.meta.url).href);
  capture = cpuProfile.captureCpuProfile;
}

let requests = 0;
const items = Array.from({ length: 40 }, (_, id) => ({ id, name: `item ${id}`, price: id * 1.25, tags: ['one', 'two'] }));
const app = fastify();
app.get<{ Querystring: { below: string } }>('/items', (request) => {
  requests++;
  return items.filter(({ price }) => price < Number(request.query.below)).map((item) => ({ ...item, total: item.price * 1.19 }));
});
await app.listen({ host: '127.0.0.1', port: 0 });

process.on('message', async ({ seconds, frequencyHz }: Command) => {
  const [before, requestsBefore] = [process.cpuUsage(), requests];
  if (frequencyHz > 0) await capture?.({ seconds, frequencyHz });
  else await delay(seconds * 1_000);
  const { user, system } = process.cpuUsage(before);
  process.send?.({ cpuMs: (user + system) / 1_000, requests: requests - requestsBefore } satisfies Window);
});
process.once('disconnect', () => process.exit());
process.send?.({ port: (app.server.address() as AddressInfo).port });
