import 'reflect-metadata';
import { Module, type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { ClusterStateUnusable } from '@binnacle/cluster-state/cluster-state';
import type { Role } from '@binnacle/contracts/route';
import { keepJemallocFromChildren } from '@binnacle/profiler/jemalloc';
import type { FastifyInstance } from 'fastify';
import type { DestinationStream } from 'pino';
import { readArguments } from './arguments.js';
import { buildInfo } from './build-info.js';
import type { NodeConfig } from './config.js';
import { ConfigError } from './config-error.js';
import { helpText, printedConfig } from './config-text.js';
import { answerErrorsOf, ErrorAnswers } from './error-answers.js';
import { loadConfig, nodePort } from './load-config.js';
import { NestLog } from './log.js';
import { Node } from './node.js';
import { NodeContext } from './node-context.js';
import { createNodeListener, listenError, measureRequests, requireClusterSecret } from './node-listener.js';
import { nodePlugin } from './node-plugin.js';
import { stopOnSignals } from './signals.js';

export interface NodeDefinition {
  readonly roles: readonly Role[];
  readonly modules: readonly Type[];
  /** Of the node listener, before `port-offset`. */
  readonly defaultPort: number;
}

export interface RunningNode {
  readonly context: NodeContext;
  readonly app: NestFastifyApplication;
  /** host:port of the node listener. */
  readonly address: string;
  /** Drains and ends the node; every call returns the same promise. Rejects with `ShutdownDeadlineError` when the deadline cut it off. */
  stop(): Promise<void>;
}

@Module({})
class NodeModule {
  /** Global, so that every part of a role can have the `NodeContext` injected without importing anything. */
  static of(node: Node, modules: readonly Type[]): DynamicModule {
    return { module: NodeModule, global: true, imports: [...modules], providers: [{ provide: NodeContext, useValue: node }], exports: [NodeContext] };
  }
}

/** Starts a node in this process. Rejects with one clear message when it cannot start, and leaves nothing behind then. */
export async function startNode(
  definition: NodeDefinition,
  config: NodeConfig,
  options: { logDestination?: DestinationStream } = {},
): Promise<RunningNode> {
  const node = await Node.open({ roles: definition.roles, config, ...options });
  const listener = createNodeListener(node.log.child({ part: 'node-listener' }));
  let app: NestFastifyApplication | undefined;
  const close = async (): Promise<void> => (app ? app.close() : listener.close());
  const shutDown = (): Promise<void> => node.shutDown({ close, destroy: () => listener.server.closeAllConnections() });
  try {
    app = await createApplication(node, listener, definition.modules);
    await node.prepare();
    const port = await listen(listener, config, nodePort(config, definition.defaultPort));
    await node.run({ host: config.node.host, port });
  } catch (error) {
    await shutDown().catch(() => undefined);
    throw error;
  }
  let stopping: Promise<void> | undefined;
  return { context: node, app, address: node.address(), stop: () => (stopping ??= shutDown()) };
}

async function createApplication(node: Node, listener: FastifyInstance, modules: readonly Type[]): Promise<NestFastifyApplication> {
  measureRequests(listener, node.requests, node.lifecycle);
  requireClusterSecret(listener, node.clusterSecret);
  await listener.register(
    async (scope) => {
      answerErrorsOf(scope, node.log);
      await nodePlugin(scope, { node });
    },
  );
  const app = await NestFactory.create<NestFastifyApplication>(NodeModule.of(node, modules), new FastifyAdapter(listener as never), {
    logger: new NestLog(node.log),
    // Some clients of the documented APIs send JSON as a form; controllers that serve them read the bytes.
    rawBody: true,
    abortOnError: false,
  });
  app.useGlobalFilters(new ErrorAnswers(node.log));
  await app.init();
  return app;
}

async function listen(listener: FastifyInstance, config: NodeConfig, port: number): Promise<number> {
  const { host } = config.node;
  try {
    await listener.listen({ host, port });
  } catch (error) {
    throw listenError(error, { host, port, key: 'node.port', hostKey: 'node.host' });
  }
  const bound = listener.server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the node listener has no port');
  return bound.port;
}

/**
 * The `main()` of a process that is one node: configuration from flags, environment and file, `--help`, `--version`, `--print-config`,
 * signals, exit codes (0 after a clean stop, 1 after anything else). Undefined when there is nothing to run.
 */
export async function runNode(
  definition: NodeDefinition,
  argv: readonly string[] = process.argv.slice(2),
): Promise<RunningNode | undefined> {
  try {
    const { help, version, printConfig } = readArguments(argv);
    if (help) return print(helpText(definition.roles.length === 1 ? `node apps/${definition.roles[0]}/dist/main.js` : 'binnacle start'));
    if (version) return print(`binnacle ${buildInfo.version} (node ${buildInfo.nodeVersion})`);
    const config = loadConfig({ argv, env: process.env });
    if (printConfig) return print(printedConfig(config, definition.defaultPort));
    return await runUntilSignal(definition, config);
  } catch (error) {
    process.stderr.write(`${startFailure(error)}\n`);
    process.exitCode = 1;
    // Handles that a failed start may have left behind must not keep a dead node alive.
    setTimeout(() => process.exit(1), 1_000).unref();
    return undefined;
  }
}

async function runUntilSignal(definition: NodeDefinition, config: NodeConfig): Promise<RunningNode> {
  keepJemallocFromChildren();
  const starting = startNode(definition, config);
  const stop = async (): Promise<void> => {
    // A signal during the start: what has started is taken down again.
    const node = await starting;
    await node.stop();
  };
  stopOnSignals(stop);
  const node = await starting;
  const crash = (error: unknown): void => {
    node.context.log.fatal({ err: error }, 'an error nobody handled: the node ends, a supervisor starts it again');
    process.exit(1);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
  return node;
}

function print(text: string): undefined {
  process.stdout.write(`${text}\n`);
}

/** What can be mended by the reader is said in one line; what cannot comes with its stack. */
function startFailure(error: unknown): string {
  if (error instanceof ConfigError) return error.problems.map((problem) => `binnacle: ${problem}`).join('\n');
  if (error instanceof ClusterStateUnusable) return `binnacle: ${error.message.replaceAll('\n', ' ')}`;
  return `binnacle: the node cannot start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
