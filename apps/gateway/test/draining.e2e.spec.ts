import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { NodeConfig } from '@binnacle/node-kit/config';
import { startNode, type RunningNode } from '@binnacle/node-kit/run-node';
import { waitUntil } from '@binnacle/testing/wait-until';
import { GatewayModule } from '../src/gateway.module.js';
import { answerText, openSocket, raw, TestNode } from './gateway-under-test.js';

let folder: string;
let gateway: RunningNode | undefined;
let node: TestNode;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'binnacle-draining-'));
  node = new TestNode('cluster-0', ['cluster'], answerText('here'));
  await node.listen();
});
afterEach(async () => {
  await gateway?.stop().catch(() => undefined);
  gateway = undefined;
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(change: (config: NodeConfig) => void = () => undefined): Promise<RunningNode> {
  const config = new NodeConfig();
  config.dataDir = folder;
  config.node.port = 0;
  config.node.shutdownDeadlineMs = 30_000;
  Object.assign(config.gateway, { port: 0, tiflashPort: 0, tiproxyPort: 0, gostatsdPort: 0, typesensePort: 0 });
  change(config);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  gateway = await startNode({ roles: ['gateway'], modules: [GatewayModule], defaultPort: 0 }, config, { logDestination: silent });
  await gateway.context.state.heartbeat(node.record(), 60_000);
  await waitUntil(() => gateway?.context.directory.byId('cluster-0'));
  return gateway;
}

const portOf = (running: RunningNode) => Number(running.context.labels['gateway-port']);
const slowPath = 'GET /api/v1/leases HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';

describe('a gateway that stops', () => {
  test('finishes the requests it has, says that their connections end, and takes no new ones', async () => {
    const running = await start();
    const port = portOf(running);
    let finish = (): void => undefined;
    node.handler = (request, response) => {
      finish = () => answerText('finished')(request, response);
    };
    const pending = raw(port, slowPath);
    await waitUntil(() => node.seen.length === 1);
    const stopped = running.stop();
    await waitUntil(async () => (await openSocket(port).catch((error: NodeJS.ErrnoException) => error.code)) === 'ECONNREFUSED');
    finish();
    const answer = await pending;
    expect(answer).toMatch(/^HTTP\/1\.1 200 [^]*connection: close[^]*finished$/i);
    await stopped;
  });

  test('closes idle connections at once, and one whose answer had begun when that has ended', async () => {
    const running = await start();
    const idle = await openSocket(portOf(running));
    idle.write('GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await once(idle, 'data');
    let finish = (): void => undefined;
    node.handler = (_request, response) => {
      response.writeHead(200, { 'content-length': 8 }).write('half');
      finish = () => void response.end('rest');
    };
    const begun = await openSocket(portOf(running));
    begun.write(slowPath);
    const [head] = (await once(begun, 'data')) as [Buffer];
    expect(head.toString()).toMatch(/connection: keep-alive/i);

    const idleClosed = once(idle.resume(), 'close');
    const begunClosed = once(begun, 'close');
    const stopped = running.stop();
    await idleClosed;
    const rest = once(begun, 'data') as Promise<[Buffer]>;
    finish();
    expect((await rest)[0].toString()).toBe('rest');
    await begunClosed;
    await stopped;
  });

  test('does not wait for an event stream, which would never end', async () => {
    const running = await start();
    node.handler = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    };
    const stream = await openSocket(portOf(running));
    stream.write('GET /api/v1/cluster/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await once(stream, 'data');
    const closed = once(stream, 'close');
    await running.stop();
    await closed;
  });
});

test('a port in use is named with the key that moves it', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await expect(start((config) => (config.gateway.typesensePort = port))).rejects.toThrow(
    new RegExp(`port ${port} on 127.0.0.1 is in use: .*gateway.typesense-port \\(BINNACLE_GATEWAY_TYPESENSE_PORT\\)`),
  );
  other.close();
});

test('the registry shows the ports of the listeners', async () => {
  const running = await start();
  const ports = ['gateway', 'tiflash', 'tiproxy', 'gostatsd', 'typesense'].map((name) => Number(running.context.labels[`${name}-port`]));
  for (const port of ports) expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
  expect(new Set(ports).size).toBe(5);
});
