import { expect, test } from '@jest/globals';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { ExpositionReaders, readersMax, readMsMax } from '../src/exposition-readers.js';
import type { GaugeSeries } from '../src/series/series.js';
import { newFolder, removeFolder, startIngest } from './ingest-node.js';

test('readers that do not read are few, and others are told so', async () => {
  const running = await startIngest(newFolder());
  const { store } = running.ingest;
  const tags = ['a', 'b', 'c'].map((name) => `${name}:${'x'.repeat(200)}`);
  // More than sockets hold.
  for (let at = 0; at < 20_000; at++) store.setGauge(store.series({ kind: 'gauge', name: `load.${at}`, tags, source: '' }) as GaugeSeries, at);
  const [host, port] = running.node.address.split(':');
  const sockets: Socket[] = [];
  try {
    for (let reader = 0; reader < readersMax; reader++) {
      const socket = connect(Number(port), host).on('error', () => {});
      sockets.push(socket);
      socket.write(`GET /metrics/ingested HTTP/1.1\r\nHost: x\r\nx-binnacle-cluster-secret: ${running.node.context.clusterSecret}\r\n\r\n`);
      await once(socket, 'readable');
    }
    const refused = await running.fetch('/metrics/ingested');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    // Nodes that ask each other have places of their own.
    expect((await running.fetch('/agent/v1/ingest/exposition')).status).toBe(200);
  } finally {
    for (const socket of sockets) socket.destroy();
    await waitUntil(async () => (await running.samples()).size > 0);
    await running.stop();
    removeFolder(running.dataDir);
  }
});

test('a reader has so much time for all of it, and who asks while one is made gets that one', async () => {
  const clock = new FakeClock();
  const readers = new ExpositionReaders<string>(clock);
  const begun: ServerResponse[] = [];
  const server = createServer((_request, answer) => {
    readers.begin(answer);
    begun.push(answer);
    answer.write('some of it');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [answer] = (await once(get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }), 'response')) as [IncomingMessage];
  const cutOff = once(answer.resume(), 'error');
  await clock.advance(readMsMax);
  expect((await cutOff)[0]).toMatchObject({ code: 'ECONNRESET' });
  expect(clock.timerCount()).toBe(0);
  server.close();
  let made = 0;
  const make = async (): Promise<string> => `text ${++made}`;
  expect(await Promise.all([readers.shared('a', make), readers.shared('a', make), readers.shared('b', make)])).toEqual(['text 1', 'text 1', 'text 2']);
  expect(await readers.shared('a', make)).toBe('text 3');
});
