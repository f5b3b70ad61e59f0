import type { FastifyInstance, FastifyReply } from 'fastify';
import { IsIn } from 'class-validator';
import { addAgentRoutes } from './agent-routes.js';
import { buildInfo } from './build-info.js';
import { addCaptureRoutes } from './capture-routes.js';
import { runChecks } from './check.js';
import { expvar } from './expvar.js';
import type { Node } from './node.js';
import { readinessText } from './readiness.js';
import { bodyObject } from './request-body.js';
import { systemMetrics } from './system-metrics.js';
import { validBody } from './valid-body.js';

/** TiFlash's names of levels, and ours. */
const logLevels: ReadonlyMap<string, string> = new Map([['critical', 'fatal'], ['warning', 'warn'], ...['fatal', 'error', 'warn', 'info', 'debug', 'trace'].map((level) => [level, level] as const)]);

class LogLevelBody {
  @IsIn([...logLevels.keys()]) 'log-level'!: string;
}

/**
 * What every node answers on its node listener, in the form of the dialect each path comes from. The caller sees to it that all but
 * `/livez`, `/readyz` and `/metrics` needs the cluster secret (`requireClusterSecret`).
 */
export async function nodePlugin(app: FastifyInstance, { node }: { node: Node }): Promise<void> {
  addProbes(app, node);
  addTiflashRoutes(app, node);
  addTypesenseRoutes(app, node);
  app.get('/healthcheck', async (request, reply) => {
    // The health role asks for the dependencies too: they may be ill without the node being so.
    const { dependencies } = request.query as Record<string, unknown>;
    const { status, body } = await runChecks(dependencies === 'true' ? [...node.selfChecks, ...node.dependencyChecks] : node.selfChecks);
    return reply.code(status).send(body);
  });
  app.get('/expvar', async (_request, reply) => {
    // With the charset, as gostatsd (Go's expvar) sends it.
    return reply.type('application/json; charset=utf-8').send(JSON.stringify(await expvar(node.metrics, node.maskSecrets, node.parts)));
  });
  addAgentRoutes(app, node);
  addCaptureRoutes(app, node);
}

function addProbes(app: FastifyInstance, node: Node): void {
  const open = { config: { withoutClusterSecret: true } };
  // Liveness depends on nothing but this event loop: restarting a node heals no dependency.
  app.get('/livez', open, async (_request, reply) => text(reply, 200, 'ok\n'));
  app.get('/readyz', open, async (request, reply) => {
    const lines = node.readiness.lines();
    return text(reply, lines.every((line) => line.ok) ? 200 : 503, readinessText(lines, isVerbose(request.query)));
  });
  app.get('/metrics', open, async (_request, reply) => {
    return reply.type(node.metrics.contentType).send(await node.metrics.metrics());
  });
}

function addTiflashRoutes(app: FastifyInstance, node: Node): void {
  app.get('/tiflash/store-status', async (_request, reply) => text(reply, 200, node.lifecycle.status()));
  app.get('/tiflash/livez', async (_request, reply) => text(reply, 200, 'ok\n'));
  app.get('/tiflash/readyz', async (request, reply) => {
    // TiFlash knows the first line only; the other one appears when it is what makes the node unready.
    const lines = node.readiness.lines().filter((line) => line.name === 'store_status' || !line.ok);
    return text(reply, lines.every((line) => line.ok) ? 200 : 500, readinessText(lines, isVerbose(request.query)));
  });
  // Of this process, until it ends.
  app.put('/log-level', async (request, reply) => {
    const { 'log-level': level } = validBody(LogLevelBody, bodyObject(request));
    node.log.level = logLevels.get(level) as string;
    node.log.info({ to: node.log.level }, 'the log level was changed');
    return text(reply, 200, '');
  });
}

function addTypesenseRoutes(app: FastifyInstance, node: Node): void {
  app.get('/metrics.json', async () => systemMetrics(node.machine));
  app.get('/debug', async () => ({ state: isLeader(node) ? 1 : 4, version: buildInfo.version }));
  app.get('/status', async () => ({
    committed_index: node.settings.appliedRevision(),
    queued_writes: node.state.pendingOperations(),
    state: isLeader(node) ? 'LEADER' : 'FOLLOWER',
  }));
}

function isLeader(node: Node): boolean {
  return node.candidacies.get('leader')?.isOwner() ?? false;
}

/** `?verbose`, with any value or none, as TiFlash reads it. */
function isVerbose(query: unknown): boolean {
  return typeof query === 'object' && query !== null && 'verbose' in query;
}

function text(reply: FastifyReply, status: number, body: string): FastifyReply {
  return reply.code(status).type('text/plain; charset=utf-8').send(body);
}
