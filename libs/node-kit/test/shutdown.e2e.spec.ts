import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Controller, Get, Injectable, Module } from '@nestjs/common';
import { startRedis, type RedisServer } from '@binnacle/testing/redis-server';
import { waitUntil } from '@binnacle/testing/wait-until';
import { once } from 'node:events';
import { Agent, createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { NodeConfig } from '../src/config.js';
import { NodeContext, type NodePart } from '../src/node-context.js';
import { startNode, type RunningNode } from '../src/run-node.js';
import { ShutdownDeadlineError } from '../src/shutdown.js';
import { ask, askAsNode, testConfig } from './testable-node.js';

let redis: RedisServer;
beforeAll(async () => (redis = await startRedis()));
afterAll(async () => redis.stop());

/** A latch that a test opens. */
function latch() {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** A node with one slow route and the parts a test gives it. */
function moduleWith(parts: (node: NodeContext) => NodePart[], slow = latch()) {
  @Injectable()
  class Parts {
    constructor(node: NodeContext) {
      for (const part of parts(node)) node.addPart(part);
    }
  }
  @Controller()
  class Slow {
    @Get('slow')
    async slow() {
      await slow.opened;
      return 'done';
    }
  }
  @Module({ providers: [Parts], controllers: [Slow] })
  class PartsModule {}
  return PartsModule;
}

function start(parts: (node: NodeContext) => NodePart[], change?: (config: NodeConfig) => void, slow = latch()): Promise<RunningNode> {
  return startNode({ roles: ['storage'], modules: [moduleWith(parts, slow)], defaultPort: 7403 }, testConfig(change));
}

function recorder(seen: string[]) {
  return (name: string): NodePart => ({
    name,
    start: async () => void seen.push(`start ${name}`),
    drain: async () => void seen.push(`drain ${name}`),
    stop: async () => void seen.push(`stop ${name}`),
  });
}

test('parts start in order once the node is registered, drain and stop in reverse, and stopping twice is stopping once', async () => {
  const seen: string[] = [];
  const part = recorder(seen);
  const node = await start((context) => [
    part('one'),
    part('two'),
    {
      name: 'watcher',
      start: async () => {
        const record = (await context.state.nodes()).find(({ id }) => id === context.id);
        seen.push(`listed as ${record?.state}, ${context.lifecycle.status()}`);
      },
    },
  ]);
  expect(node.context.lifecycle.status()).toBe('Running');
  expect(node.context.directory.byId(node.context.id)?.state).toBeDefined();
  await Promise.all([node.stop(), node.stop()]);
  expect(seen).toEqual(['start one', 'start two', 'listed as starting, Ready', 'drain two', 'drain one', 'stop two', 'stop one']);
  expect(node.context.lifecycle.status()).toBe('Terminated');
});

describe('a node that stops, on Redis', () => {
  test('turns unready, shows as stopping, serves on, finishes what runs, then leaves the registry', async () => {
    const slow = latch();
    const drained = latch();
    const seen: string[] = [];
    const node = await start(
      () => [
        { name: 'held', drain: () => drained.opened, stop: async () => void seen.push('part stopped') },
      ],
      (config) => {
        config.redis.url = redis.url;
        config.node.drainDelayMs = 200;
      },
      slow,
    );
    const watcher = await start(() => [], (config) => (config.redis.url = redis.url));
    const others = (): string | undefined => watcher.context.directory.byId(node.context.id)?.state;
    await waitUntil(() => others() === 'running');
    const keepAlive = new Agent({ keepAlive: true });
    expect((await askAsNode(node.address, '/status', { agent: keepAlive })).headers.connection).toBe('keep-alive');

    const inFlight = askAsNode(node.address, '/slow');
    await waitUntil(() => node.context.metrics.getSingleMetricAsString('binnacle_http_requests_outstanding').then((text) => text.endsWith(' 1')));
    const stopped = node.stop().then(() => seen.push('stopped'));
    const notReady = await ask(node.address, '/readyz?verbose');
    expect([notReady.status, notReady.text]).toEqual([503, '[-]store_status fail: store_status=Stopping\n[+]cluster_state ok\nfail\n']);
    const tiflash = await askAsNode(node.address, '/tiflash/readyz?verbose');
    expect([tiflash.status, tiflash.text]).toEqual([500, '[-]store_status fail: store_status=Stopping\nfail\n']);
    await waitUntil(() => others() === 'stopping');
    // A gateway that has not heard yet is still served, and told to leave the connection.
    const late = await askAsNode(node.address, '/status', { agent: keepAlive });
    expect([late.status, late.headers.connection]).toEqual([200, 'close']);
    expect((await ask(node.address, '/livez')).status).toBe(200);

    drained.open();
    await waitUntil(() => ask(node.address, '/livez').then(() => false, () => true), { what: 'the listener is closed' });
    // The request in flight holds up everything that comes after it.
    expect(seen).toEqual([]);
    expect(others()).toBe('stopping');
    slow.open();
    await stopped;
    expect((await inFlight).text).toBe('done');
    expect(seen).toEqual(['part stopped', 'stopped']);
    await waitUntil(() => others() === undefined);
    await watcher.stop();
    keepAlive.destroy();
  });

  test('is not held up by connections that send nothing, or half a request head', async () => {
    const node = await start(() => []);
    const port = Number(node.address.split(':')[1]);
    const sockets = await Promise.all(
      ['', 'GET /livez HTTP/1.1\r\nHo'].map(async (bytes) => {
        const socket = connect(port, '127.0.0.1').on('error', () => undefined).resume();
        await once(socket, 'connect');
        socket.write(bytes);
        return socket;
      }),
    );
    const closed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    // Rejects when the deadline cut it off.
    await node.stop();
    await closed;
  });

  test('does not wait for the gateways with embedded state: nobody else routes to it', async () => {
    const node = await start(() => [], (config) => (config.node.drainDelayMs = 300_000));
    await node.stop();
    expect(node.context.lifecycle.status()).toBe('Terminated');
  });

  test('is cut off at its deadline, and says what still ran', async () => {
    const seen: string[] = [];
    const node = await start(
      () => [{ name: 'one', stop: async () => void seen.push('stopped') }],
      (config) => (config.node.shutdownDeadlineMs = 3_000),
    );
    const cut = askAsNode(node.address, '/slow').catch((error: NodeJS.ErrnoException) => error.code);
    await waitUntil(() => node.context.metrics.getSingleMetricAsString('binnacle_http_requests_outstanding').then((text) => text.endsWith(' 1')));
    await expect(node.stop()).rejects.toThrow(
      new ShutdownDeadlineError('not stopped within 3000 ms: "finish the requests in flight" still ran; requests in flight: GET /slow'),
    );
    expect(await cut).toBe('ECONNRESET');
    expect(node.context.lifecycle.status()).toBe('Terminated');
  });
});

describe('a node that cannot start', () => {
  let taken: Server;
  beforeAll(async () => {
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => void taken.close());

  test('names the port that is in use and the key to change', async () => {
    const { port } = taken.address() as AddressInfo;
    await expect(start(() => [], (config) => (config.node.port = port))).rejects.toThrow(
      `port ${port} on 127.0.0.1 is in use: free it, or set node.port (BINNACLE_NODE_PORT), or move every port with port-offset (BINNACLE_PORT_OFFSET)`,
    );
  });

  test('names the address that is not of this machine', async () => {
    await expect(start(() => [], (config) => (config.node.host = '192.0.2.1'))).rejects.toThrow('192.0.2.1 is no address of this machine: set node.host');
  });

  test('refuses to bind an address others reach without a cluster secret', async () => {
    const change = (config: NodeConfig): void => {
      config.node.host = '0.0.0.0';
      config.node.clusterSecret = '';
    };
    await expect(start(() => [], change)).rejects.toThrow('BINNACLE_NODE_CLUSTER_SECRET');
  });

  test('takes down again what had started when a part fails, and is gone from the registry', async () => {
    const seen: string[] = [];
    const watcher = await start(() => [], (config) => (config.redis.url = redis.url));
    const failing = start(
      (context) => [
        recorder(seen)('one'),
        { name: 'two', start: async () => Promise.reject(new Error(`cannot open on ${context.candidate().address}`)) },
        recorder(seen)('three'),
      ],
      (config) => {
        config.redis.url = redis.url;
        config.node.id = 'failing';
      },
    );
    await expect(failing).rejects.toThrow(/^cannot open on 127\.0\.0\.1:\d+$/);
    expect(seen).toEqual(['start one', 'drain one', 'stop one']);
    expect((await watcher.context.state.nodes()).map(({ id }) => id)).not.toContain('failing');
    await watcher.stop();
  });
});
