import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { NodeConfig } from '@binnacle/node-kit/config';
import { changedOverrides } from '@binnacle/node-kit/config-overrides';
import type { ProxyConfig, SecurityConfig } from '@binnacle/node-kit/proxy-config';
import { type RunningNode, startNode } from '@binnacle/node-kit/run-node';
import { waitUntil } from '@binnacle/testing/wait-until';
import { createConnection, type Connection, type ConnectionOptions } from 'mysql2/promise';
import { SqlProxy } from '../src/process/sql-proxy.js';
import { ProxyModule } from '../src/proxy.module.js';

export interface ProxyNodeOptions {
  readonly proxy?: Partial<ProxyConfig>;
  readonly security?: Partial<SecurityConfig>;
  readonly id?: string;
  readonly redisUrl?: string;
  readonly dataDir?: string;
}

export interface SessionShown {
  readonly id: number;
  readonly node: string;
  readonly worker: number;
  readonly user: string;
  readonly namespace: string;
  readonly backend: string;
  readonly backendThreadId: number;
  readonly phase: string;
  readonly movable: boolean;
  readonly why: readonly { readonly code: string; readonly text: string }[];
}

/** What answers have, as far as tests look at it. */
interface AnswerBody extends Partial<SessionShown> {
  readonly sessions?: readonly SessionShown[];
  readonly backends?: readonly { readonly id: string; readonly sessions: number; readonly nodes: Readonly<Record<string, number>> }[];
  readonly draining?: boolean;
  readonly drain?: object;
  readonly pauseMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Empty where the answer is no JSON. */
  readonly body: AnswerBody;
}

/** A proxy node in this process, on a port of its own, with what tests ask of it. */
export class ProxyNode {
  private constructor(
    private readonly running: RunningNode,
    readonly dataDir: string,
    private readonly ownFolder: boolean,
  ) {}

  static async start({ proxy = {}, security = {}, id = 'n0', redisUrl = '', dataDir }: ProxyNodeOptions = {}): Promise<ProxyNode> {
    const config = new NodeConfig();
    config.dataDir = dataDir ?? mkdtempSync(join(tmpdir(), 'binnacle-proxy-'));
    Object.assign(config.node, { id, port: 0 });
    config.redis.url = redisUrl;
    Object.assign(config.health, { eventLoopDelayMsMax: 60_000, diskFreePercentMin: 0, memoryFreePercentMin: 0 });
    config.log.level = process.env['PROXY_LOG'] ?? 'silent';
    Object.assign(config.proxy, { addr: ['127.0.0.1:0'], highMemoryUsageRejectThreshold: 0, healthUser: 'root', healthPassword: 'root', healthCheckIntervalMs: 500, ...proxy });
    Object.assign(config.security, security);
    const running = await startNode({ roles: ['proxy'], modules: [ProxyModule], defaultPort: 0 }, config);
    return new ProxyNode(running, config.dataDir, dataDir === undefined);
  }

  get sql(): SqlProxy {
    return this.running.app.get(SqlProxy);
  }

  get port(): number {
    return Number(this.sql.workers.addresses[0]?.split(':').pop());
  }

  connect(options: ConnectionOptions = {}): Promise<Connection> {
    return createConnection({ host: '127.0.0.1', port: this.port, user: 'root', password: 'root', database: 'test', ...options });
  }

  /** Asks the node listener, as the gateway does. */
  async ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await fetch(`http://${this.running.address}${path}`, {
      method,
      headers: { [clusterSecretHeader]: this.running.context.clusterSecret, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') ?? false;
    return { status: answer.status, text, body: isJson ? (JSON.parse(text) as AnswerBody) : {} };
  }

  async sessions(query = ''): Promise<readonly SessionShown[]> {
    return (await this.ask('GET', `/api/v1/sessions${query}`)).body.sessions ?? [];
  }

  async session(id: number): Promise<SessionShown> {
    return (await this.ask('GET', `/api/v1/sessions/${id}`)).body as SessionShown;
  }

  migrate(id: number, to?: string): Promise<Answer> {
    return this.ask('POST', `/api/v1/sessions/${id}/migrate`, to === undefined ? undefined : { to });
  }

  /** As PUT /api/admin/config does at the gateway: `{ proxy: { 'max-connections': 5 } }`. */
  async configure(change: Readonly<Record<string, unknown>>): Promise<void> {
    const { settings, config } = this.running.context;
    await settings.update((current) => Object.assign(current, { proxy: changedOverrides(config, current.proxy, change) }));
  }

  /** Puts a namespace and commits it. */
  async namespace(name: string, body: object): Promise<void> {
    for (const answer of [await this.ask('PUT', `/api/admin/namespace/${name}`, body), await this.ask('POST', `/api/admin/namespace/commit?namespace=${name}`)]) {
      if (answer.status !== 200) throw new Error(`the namespace was not taken: ${JSON.stringify(answer.body)}`);
    }
  }

  async metrics(): Promise<string> {
    return (await this.ask('GET', '/metrics')).text;
  }

  async healthy(count: number): Promise<void> {
    const reports = () => this.sql.backends.reports();
    await waitUntil(() => reports().filter(({ healthy }) => healthy).length === count, { what: `${count} healthy backends`, timeoutMs: 30_000 }).catch((cause: unknown) => {
      throw new Error(`${(cause as Error).message}: ${JSON.stringify(reports().map(({ id, reason, notice, state }) => ({ id, reason, notice, state })))}`);
    });
  }

  async stop(): Promise<void> {
    await this.running.stop();
    if (this.ownFolder) rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** One run of the mysql CLI: its output, tab-separated. Rejects with what it says on standard error. */
export async function mysqlCli(port: number, statements: string, args: readonly string[] = []): Promise<string> {
  const all = ['--no-defaults', '--host=127.0.0.1', `--port=${port}`, '--user=root', '--password=root', '--batch', '--skip-column-names', ...args, '-e', statements];
  const { stdout } = await promisify(execFile)('mariadb', all, { timeout: 20_000 });
  return stdout;
}
