import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clusterSecretHeader, dialectHeader, listenerHeader } from '@binnacle/contracts/internal-headers';
import type { Dialect } from '@binnacle/contracts/route';
import { NodeConfig } from '@binnacle/node-kit/config';
import type { NodeContext } from '@binnacle/node-kit/node-context';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';
import { ProfilingModule } from '../src/profiling.module.js';

export const clusterSecret = 'the-secret-of-these-tests';
/** More than a busy machine keeps a node from saying that it is there. */
const heartbeatTtlMs = 4_000;

export interface Ask {
  readonly dialect?: Dialect;
  /** As if it had come in on port 8080. */
  readonly shared?: boolean;
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** A profiling node in this process, asked as the gateway would. Without a Redis it has embedded state and is alone. */
export class ProfilingNode {
  private constructor(
    readonly running: RunningNode,
    readonly folder: string,
  ) {}

  /** On the `folder` of an earlier one it is that one, restarted. */
  static async start(id: string, redisUrl = '', { folder = mkdtempSync(join(tmpdir(), `binnacle-${id}-`)), change = (_: NodeConfig): void => {} } = {}): Promise<ProfilingNode> {
    const config = new NodeConfig();
    config.dataDir = folder;
    config.redis.url = redisUrl;
    Object.assign(config.node, { id, port: 0, clusterSecret, heartbeatTtlMs, drainDelayMs: 0 });
    Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
    config.log.level = 'silent';
    change(config);
    return new ProfilingNode(await startNode({ roles: ['profiling'], modules: [ProfilingModule], defaultPort: 0 }, config), folder);
  }

  get context(): NodeContext {
    return this.running.context;
  }

  ask(path: string, { dialect = 'tiflash', shared, headers, ...init }: Ask = {}): Promise<Response> {
    const all = { [clusterSecretHeader]: clusterSecret, [dialectHeader]: dialect, ...(shared && { [listenerHeader]: 'all' }), ...headers };
    return fetch(`http://${this.running.address}${path}`, { ...init, headers: all });
  }

  /** Status and text, for what is told in a line. */
  async said(path: string, ask?: Ask): Promise<[number, string]> {
    const response = await this.ask(path, ask);
    return [response.status, await response.text()];
  }

  async stop({ keepFolder = false } = {}): Promise<void> {
    await this.running.stop();
    if (!keepFolder) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A node in a process of its own, to be profiled and to be killed. */
export class TargetProcess {
  readonly #child: ChildProcess;
  readonly #folder: string;
  #output = '';

  /** Those that a failed test has left, to be ended with the file: a stopped one would keep the test from ending. */
  static readonly #running = new Set<TargetProcess>();

  static async killAll(): Promise<void> {
    for (const target of TargetProcess.#running) await target.kill();
  }

  private constructor(
    readonly id: string,
    env: Record<string, string>,
  ) {
    TargetProcess.#running.add(this);
    this.#folder = mkdtempSync(join(tmpdir(), `binnacle-${id}-`));
    const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    this.#child = spawn(process.execPath, [main], {
      env: { ...process.env, NODE_OPTIONS: '', BINNACLE_DATA_DIR: this.#folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#child.once('exit', guardProcess(this.#child.pid ?? 0, this.#folder));
  }

  /** Resolves once the profiling node knows it. */
  static async start(id: string, redisUrl: string, knownTo: ProfilingNode, env: Record<string, string> = {}): Promise<TargetProcess> {
    const target = new TargetProcess(id, {
      BINNACLE_REDIS_URL: redisUrl,
      BINNACLE_NODE_ID: id,
      BINNACLE_NODE_PORT: '0',
      BINNACLE_NODE_CLUSTER_SECRET: clusterSecret,
      BINNACLE_NODE_HEARTBEAT_TTL_MS: String(heartbeatTtlMs),
      BINNACLE_NODE_DRAIN_DELAY_MS: '0',
      BINNACLE_LOG_FORMAT: 'json',
      ...env,
    });
    await waitUntil(() => target.#isKnown(knownTo), { what: `${id} to run` });
    return target;
  }

  #isKnown(to: ProfilingNode): boolean {
    if (this.#child.exitCode !== null) throw new Error(`${this.id} ended:\n${this.#output}`);
    return to.context.directory.byId(this.id)?.state === 'running';
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    TargetProcess.#running.delete(this);
    this.#child.kill('SIGKILL');
    await exited(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
