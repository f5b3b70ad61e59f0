import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { afterEach, expect, test } from '@jest/globals';
import { waitUntil } from '@binnacle/testing/wait-until';
import { answerText, GatewayUnderTest, TestNode, testRoute } from './gateway-under-test.js';

const routes = [testRoute({ path: '/work' }), testRoute({ path: '/work', method: 'POST' })];
let gateway: GatewayUnderTest;
afterEach(() => gateway.stop());

/** Keeps as many requests on their way as it is told, and remembers what went wrong. */
class Load {
  readonly failures: string[] = [];
  answered = 0;
  #runs = true;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #workers: Promise<void>[];

  constructor(
    private readonly port: number,
    concurrency: number,
  ) {
    this.#workers = Array.from({ length: concurrency }, (_, index) => this.#work(index % 2 === 0 ? 'GET' : 'POST'));
  }

  async #work(method: string): Promise<void> {
    while (this.#runs) {
      const status = await this.#send(method).catch((error: unknown) => String(error));
      if (status === '200') this.answered++;
      else this.failures.push(`${method} ${status}`);
    }
  }

  #send(method: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ port: this.port, path: '/work', method, agent: this.#agent }, (response) => {
        response.resume().once('end', () => resolve(String(response.statusCode))).once('error', reject);
      });
      outgoing.once('error', reject);
      outgoing.end(method === 'POST' ? 'some work' : undefined);
    });
  }

  async stop(): Promise<void> {
    this.#runs = false;
    await Promise.all(this.#workers);
    this.#agent.destroy();
  }
}

/** As the node kit stops a node: says so in the registry, takes what still comes until the gateways know, finishes, goes. */
async function restart(node: TestNode): Promise<void> {
  node.state = 'stopping';
  await gateway.register(node.record());
  const port = node.port;
  const closed = once(node.server, 'close');
  node.server.close();
  await closed;
  await gateway.deregister(node.record(port));
  node.renew();
  node.state = 'running';
  await node.listen(port);
  await gateway.register(node.record());
}

test('a rolling restart of two nodes under load fails no request, of whatever method', async () => {
  gateway = await GatewayUnderTest.start({ routes });
  for (const id of ['storage-0', 'storage-1']) {
    await gateway.addNode(id, (incoming, response) => {
      // Some answers take a moment, so that requests are on their way when a node stops.
      incoming.resume().once('end', () => setTimeout(() => answerText(id)(incoming, response), Math.random() * 10));
    });
  }
  const load = new Load(gateway.port(), 24);
  for (let round = 0; round < 3; round++) {
    for (const node of gateway.nodes) {
      const before = load.answered;
      await restart(node);
      await waitUntil(() => load.answered > before + 100, { what: 'the load to go on' });
    }
  }
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(600);
  // Both nodes serve again, so it was not one of them alone that carried everything.
  for (const node of gateway.nodes) expect(node.seen.length).toBeGreaterThan(100);
});
