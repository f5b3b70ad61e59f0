import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { EventLog } from './event-log.js';
import { EventStreams, lastEventIdOf } from './event-streams.js';

const limits = { streamsMax: 2, bufferedBytesMax: 64 * 1024, heartbeatMs: 15_000, readAgain: '/here' };

interface Joined {
  readonly type: 'node-joined';
  readonly node: string;
  readonly roles: readonly string[];
  readonly version: string;
}

/** One client of the stream, over a real socket; what it reads is collected as text. */
class StreamClient {
  text = '';
  ended = false;

  private constructor(readonly response: IncomingMessage) {
    response.setEncoding('utf8').on('data', (chunk: string) => (this.text += chunk));
    response.once('close', () => (this.ended = true));
    response.on('error', () => undefined);
  }

  static async open(port: number, headers: Record<string, string> = {}): Promise<StreamClient> {
    const outgoing = request({ host: '127.0.0.1', port, headers }).end();
    outgoing.on('error', () => undefined);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return new StreamClient(response);
  }

  until(text: string): Promise<unknown> {
    return waitUntil(() => this.text.includes(text), { what: `"${text}" in ${JSON.stringify(this.text)}` });
  }

  events(): string[] {
    return [...this.text.matchAll(/^event: (.+)$/gm)].map(([, name]) => name ?? '');
  }

  ids(): number[] {
    return [...this.text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  }
}

describe('event streams', () => {
  let clock: FakeClock;
  let log: EventLog<Joined>;
  let streams: EventStreams<Joined>;
  let server: Server;
  let port: number;
  const sockets: Socket[] = [];
  const responses: ServerResponse[] = [];

  const join = (node: string): Joined => ({ type: 'node-joined', node, roles: ['storage'], version: '0.1.0' });

  beforeEach(async () => {
    clock = new FakeClock();
    log = new EventLog(clock, 10);
    streams = new EventStreams(log, clock, limits);
    server = createServer((incoming, response) => {
      responses.push(response);
      const lastId = incoming.headers['last-event-id'];
      streams.open(response, typeof lastId === 'string' ? Number(lastId) : undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    responses.length = 0;
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  test('every client gets every event from the moment it is there, with id, name and data', async () => {
    log.append(join('before'));
    const clients = await Promise.all([StreamClient.open(port), StreamClient.open(port)]);
    await Promise.all(clients.map((client) => client.until('retry: 1000\n\n')));
    expect(clients[0]?.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    log.append(join('after'));
    for (const client of clients) {
      await client.until('\n\nid: ');
      await client.until('"version":"0.1.0"}\n\n');
      expect(client.text).toContain('event: node-joined\ndata: {"at":"2026-01-01T00:00:00.000Z","node":"after","roles":["storage"],"version":"0.1.0"}\n\n');
      expect(client.text).not.toContain('before');
    }
  });

  test('a client that comes back gets exactly what it missed, in order, then what comes', async () => {
    const first = await StreamClient.open(port);
    await first.until('retry');
    for (const name of ['a', 'b', 'c']) log.append(join(name));
    await first.until('"c"');
    const second = await StreamClient.open(port, { 'last-event-id': String(first.ids()[0]) });
    await second.until('"c"');
    log.append(join('d'));
    await Promise.all([first.until('"d"'), second.until('"d"')]);
    expect(second.ids()).toEqual(first.ids().slice(1));
    expect(second.events()).toEqual(['node-joined', 'node-joined', 'node-joined']);
  });

  test('a client that comes back too late is told of the gap before it gets what is kept', async () => {
    log.append(join('lost'));
    const lost = log.since(0).events[0]?.id ?? 0;
    for (let count = 0; count < 11; count++) log.append(join(`kept-${count}`));
    const client = await StreamClient.open(port, { 'last-event-id': String(lost) });
    await client.until('kept-10');
    expect(client.events()[0]).toBe('gap');
    expect(client.text).toContain('not kept any more; read /here"}');
    expect(client.text).not.toContain('"lost"');
  });

  test('a heartbeat goes out in every interval', async () => {
    const client = await StreamClient.open(port);
    await client.until('retry');
    await clock.advance(limits.heartbeatMs * 3);
    await client.until(': heartbeat\n\n: heartbeat\n\n: heartbeat\n\n');
  });

  test('a client that does not read is cut off once its buffer is full, and the others are not', async () => {
    const reader = await StreamClient.open(port);
    const lazy = connect(port, '127.0.0.1');
    sockets.push(lazy);
    lazy.on('error', () => undefined);
    lazy.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    lazy.pause();
    await waitUntil(() => streams.count() === 2);
    const long = 'x'.repeat(4_000);
    let bufferedMax = 0;
    // The kernel takes some megabytes before anything stays with us.
    for (let count = 0; count < 10_000 && streams.count() === 2; count++) {
      log.append(join(`${count}-${long}`));
      bufferedMax = Math.max(bufferedMax, responses[1]?.writableLength ?? 0);
      await waitUntil(() => reader.text.endsWith('\n\n') && reader.text.includes(`"${count}-`), { intervalMs: 0 });
      reader.text = '';
    }
    expect(streams.count()).toBe(1);
    expect(responses[1]?.destroyed).toBe(true);
    expect(bufferedMax).toBeLessThan(limits.bufferedBytesMax + 3 * long.length);
    log.append(join('still-here'));
    await reader.until('still-here');
  });

  test('one client more than allowed is refused before anything is sent; one that goes makes room', async () => {
    const first = await StreamClient.open(port);
    await StreamClient.open(port);
    expect(() => streams.assertRoom()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    first.response.destroy();
    await waitUntil(() => streams.count() === 1);
    expect(() => streams.assertRoom()).not.toThrow();
  });

  test('a node that stops ends every stream and leaves no timer behind', async () => {
    const clients = await Promise.all([StreamClient.open(port), StreamClient.open(port)]);
    await streams.drain();
    await waitUntil(() => clients.every(({ ended }) => ended));
    expect(streams.count()).toBe(0);
    expect(clock.timerCount()).toBe(0);
  });

  test('a client that comes to a node that is stopping gets what it missed and a clean end, not an error', async () => {
    log.append(join('missed'));
    await streams.drain();
    const client = await StreamClient.open(port, { 'last-event-id': '1' });
    await waitUntil(() => client.ended);
    expect(client.response.statusCode).toBe(200);
    expect(client.response.complete).toBe(true);
    expect(client.text).toContain('"missed"');
    expect(streams.count()).toBe(0);
  });

  test('a client that does not read does not hold up a node that stops', async () => {
    const lazy = connect(port, '127.0.0.1');
    sockets.push(lazy);
    lazy.on('error', () => undefined);
    lazy.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    lazy.pause();
    await waitUntil(() => streams.count() === 1);
    for (let count = 0; count < 10_000 && (responses[0]?.writableLength ?? 0) === 0; count++) {
      log.append(join('x'.repeat(4_000)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(responses[0]?.writableLength).toBeGreaterThan(0);
    const drained = streams.drain();
    await clock.advance(1_000);
    await drained;
    expect(responses[0]?.destroyed).toBe(true);
  });
});

test('a Last-Event-ID that is no number of ours counts as none', () => {
  expect(lastEventIdOf('1764000000000000')).toBe(1_764_000_000_000_000);
  for (const header of [undefined, '', '-1', '1.5', 'abc', '12345678901234567', ['1', '2']]) expect(lastEventIdOf(header)).toBeUndefined();
});
