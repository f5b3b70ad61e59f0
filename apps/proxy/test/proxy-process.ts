import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { clusterSecretHeader } from '@binnacle/contracts/internal-headers';
import { freePort } from '@binnacle/testing/free-port';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { waitUntil } from '@binnacle/testing/wait-until';

export interface ProxyProcessOptions {
  readonly backends: readonly string[];
  /** Further lines of the section `[proxy]`, then other sections. */
  readonly toml?: string;
  /** Of the health checks' root. Default: `root`. */
  readonly healthPassword?: string;
  /** The users file: passwords by name. Default: those of the tests. */
  readonly users?: Readonly<Record<string, string>>;
  /** What comes before `node` in the command line: `['taskset', '-c', '1']`. */
  readonly prefix?: readonly string[];
}

const secret = 'the-secret-of-this-test';

/** A proxy node as it is built, in a process of its own, in front of servers of tests. Needs a build. */
export async function startProxy(options: ProxyProcessOptions): Promise<ProxyProcess> {
  const [port, nodePort] = [await freePort(), await freePort()];
  const proxy = new ProxyProcess(port, nodePort, options);
  await proxy.ready();
  return proxy;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export class ProxyProcess {
  readonly port: number;
  readonly folder = mkdtempSync(join(tmpdir(), 'binnacle-proxy-process-'));
  readonly #nodePort: number;
  readonly #child: ChildProcess;
  readonly #unguard: () => void;
  #output = '';

  constructor(port: number, nodePort: number, { backends, toml = '', prefix = [], healthPassword = 'root', users = { root: 'root', model_u: 'model' } }: ProxyProcessOptions) {
    this.port = port;
    this.#nodePort = nodePort;
    const [file, usersFile] = [join(this.folder, 'proxy.toml'), join(this.folder, 'users.toml')];
    writeFileSync(usersFile, `[users]\n${Object.entries(users).map(([user, password]) => `${user} = ${JSON.stringify(password)}\n`).join('')}`, { mode: 0o600 });
    const lines = [`addr = "127.0.0.1:${port}"`, `backends = ${JSON.stringify(backends)}`, 'health-user = "root"', `health-password = "${healthPassword}"`, `users-file = "${usersFile}"`, 'health-check-interval-ms = 500', toml];
    writeFileSync(file, `[node]\nport = ${nodePort}\ncluster-secret = "${secret}"\n[proxy]\n${lines.join('\n')}\n`);
    // With less room for young objects, as `npm start` and the image have it: idle sessions cost half as much.
    const [command, ...args] = [...prefix, process.execPath, '--max-semi-space-size=8', fileURLToPath(new URL('../dist/main.js', import.meta.url)), '--config', file];
    this.#child = spawn(command!, args, { env: { ...process.env, NODE_OPTIONS: '', BINNACLE_DATA_DIR: join(this.folder, 'data'), BINNACLE_LOG_FORMAT: 'json' }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#unguard = guardProcess(this.pid, this.folder);
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-200_000)));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it printed last: at most 200 KB. */
  get output(): string {
    return this.#output;
  }

  get runs(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when a MySQL client is greeted. */
  async ready(): Promise<void> {
    await waitUntil(
      async () => {
        if (!this.runs) throw new Error(`the proxy ended:\n${this.#output}`);
        return greets(this.port);
      },
      { what: 'the proxy greets', timeoutMs: 20_000, intervalMs: 50 },
    ).catch((cause: unknown) => {
      throw new Error(`${(cause as Error).message}\n${this.#output}`, { cause });
    });
  }

  /** Binnacle's own API, on the node itself. */
  async api(method: string, path: string, body?: object): Promise<ApiAnswer> {
    const response = await fetch(`http://127.0.0.1:${this.#nodePort}${path}`, {
      method,
      headers: { [clusterSecretHeader]: secret, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    return { status: response.status, body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text } };
  }

  /** TiProxy's forms: its answers are texts. Rejects with them. */
  async form(path: string, fields: Readonly<Record<string, string>>): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.#nodePort}${path}`, {
      method: 'POST',
      headers: { [clusterSecretHeader]: secret },
      body: new URLSearchParams(fields),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return text;
  }

  async metrics(): Promise<string> {
    return String((await this.api('GET', '/metrics')).body['text']);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Exit code, or the signal's name. */
  async ended(): Promise<number | string> {
    await exited(this.#child);
    return this.#child.exitCode ?? this.#child.signalCode ?? '';
  }

  async stop(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
    this.#unguard();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whether a MySQL server, or what stands before one, sends its first packet. */
export async function greets(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.setTimeout(2_000, () => socket.destroy());
  const greeted = await new Promise<boolean>((resolve) => {
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('data', (chunk: Buffer) => resolve(chunk[4] === 10));
  });
  socket.destroy();
  return greeted;
}
