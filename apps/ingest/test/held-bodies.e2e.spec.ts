import { expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { connect, type Server, type Socket } from 'node:net';
import { newFolder, removeFolder, startIngest } from './ingest-node.js';

/** A counter `hits`, and 100 bytes of a field that nobody knows. */
const message = Buffer.concat([Buffer.from([0x0a, 0x06, 0x0a, 0x04]), Buffer.from('hits'), Buffer.from([0x9a, 0x06, 100]), Buffer.alloc(100)]);

test('bodies that are announced and do not come keep out nobody, and those that come are limited all together', async () => {
  const running = await startIngest(newFolder());
  const post = (path: string, body: Buffer): Promise<Response> => running.fetch(path, { method: 'POST', body: new Uint8Array(body) });
  const [host, port] = running.node.address.split(':');
  const secret = `x-binnacle-cluster-secret: ${running.node.context.clusterSecret}`;
  const longest = 16 * 2 ** 20;
  const head = `POST /v2/raw HTTP/1.1\r\nHost: x\r\n${secret}\r\nContent-Length: ${longest}\r\n\r\n`;
  const begun = async (bytes: number): Promise<Socket> => {
    const socket = connect(Number(port), host).on('error', () => {});
    await new Promise((resolve) => socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(bytes)]), resolve));
    return socket;
  };
  const accepted: Socket[] = [];
  (running.node.app.getHttpServer() as Server).on('connection', (socket: Socket) => accepted.push(socket));
  const sockets: Socket[] = [];
  try {
    sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => begun(1)))));
    for (let round = 0; round < 5; round++) expect((await post('/v2/raw', message)).status).toBe(202);
    sockets.push(...(await Promise.all(Array.from({ length: 8 }, () => begun(longest - 10)))));
    // All of it, or the message would keep out the last bytes of one of them.
    await waitUntil(() => accepted.filter(({ bytesRead }) => bytesRead === head.length + longest - 10).length === 8);
    expect((await post('/v2/raw', message)).status).toBe(503);
    expect((await post('/agent/v1/ingest', message)).status).toBe(202);
  } finally {
    for (const socket of sockets) socket.destroy();
    await waitUntil(async () => (await post('/v2/raw', message)).status === 202);
    await running.stop();
    removeFolder(running.dataDir);
  }
});
