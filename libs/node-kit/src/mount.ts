import type { FastifyInstance } from 'fastify';
import type { NodeConfig } from './config.js';
import { answerErrorsOf } from './error-answers.js';
import { isLoopback, loadConfig } from './load-config.js';
import { Node } from './node.js';
import type { NodeContext } from './node-context.js';
import { measureRequests, requireClusterSecret } from './node-listener.js';
import { nodePlugin } from './node-plugin.js';

export interface MountOptions {
  /** What the service is called in the registry: `orders`. */
  readonly role: string;
  /** Default: from `BINNACLE_*` and the file that BINNACLE_CONFIG names; the command line belongs to the service. */
  readonly config?: NodeConfig;
}

/**
 * Makes a Fastify service (of NestJS too: `app.getHttpAdapter().getInstance()`) a node of the cluster. Call it before `listen`.
 *
 * It adds the probes, metrics and agent routes of every node, joins the registry once the service listens, and at `close` first tells
 * the cluster, waits `node.drain-delay-ms`, finishes the requests in flight, and leaves. The service's own routes stay as open as they
 * are; all that is added but `/livez`, `/readyz` and `/metrics` needs the cluster secret.
 */
export async function mountNodeKit(app: FastifyInstance, options: MountOptions): Promise<NodeContext> {
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(options.role)) throw new Error(`role "${options.role}": small letters, digits and -, at most 32`);
  const config = options.config ?? loadConfig({ argv: [], env: process.env });
  const node = await Node.open({ roles: [options.role], config });
  measureRequests(app, node.requests, node.lifecycle);
  await app.register(async (scope) => {
    requireClusterSecret(scope, node.clusterSecret);
    answerErrorsOf(scope, node.log);
    await nodePlugin(scope, { node });
  });
  try {
    await node.prepare();
  } catch (error) {
    await node.shutDown({ close: async () => undefined, destroy: () => undefined }).catch(() => undefined);
    throw error;
  }
  app.addHook('onListen', async () => {
    // Fastify swallows what this hook throws: the service listens by now, and goes on as one that is not ready.
    await join(app, node).catch((error: unknown) => node.log.error({ err: error }, 'the service cannot join the cluster'));
  });
  drainAtClose(app, node);
  return node;
}

async function join(app: FastifyInstance, node: Node): Promise<void> {
  const bound = app.server.address();
  if (bound === null || typeof bound === 'string') throw new Error('a service must listen on a TCP port to be a node');
  if (!isLoopback(bound.address) && !node.config.node.clusterSecret) {
    // Not refused as for Binnacle's own nodes: the address is the service's, and the secret in its data folder is one nobody can guess.
    node.log.warn('no node.cluster-secret is set: only nodes that share the data folder of this service can ask it anything');
  }
  await node.run({ host: bound.address, port: bound.port });
}

/**
 * Fastify refuses new requests (503) from the moment `close` is called, before any hook runs; a gateway that has not heard yet would
 * lose those it sends. So the drain comes before `close`, which is wrapped for it.
 */
function drainAtClose(app: FastifyInstance, node: Node): void {
  const close = app.close.bind(app) as () => Promise<undefined>;
  let closing: Promise<undefined> | undefined;
  const drainThenClose = async (): Promise<undefined> => {
    await node.shutDown({ close: async () => void (await close()), destroy: () => app.server.closeAllConnections() });
    return undefined;
  };
  app.close = ((callback?: () => void) => {
    closing ??= drainThenClose();
    if (callback === undefined) return closing;
    closing.then(callback, callback);
    return undefined;
  }) as typeof app.close;
}
