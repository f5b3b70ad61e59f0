import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { makeAuthority } from './certificates.js';
import { freePort } from './free-port.js';
import { exited, guardProcess } from './guarded-process.js';
import { waitUntil } from './wait-until.js';

export interface RedisServerOptions {
  /** Keeps an append-only file, synced at every write; `kill9` then loses nothing. */
  readonly appendOnly?: boolean;
  /** Speaks TLS only, with a certificate made for the occasion. */
  readonly tls?: boolean;
  /** Default: a free one. */
  readonly port?: number;
  /** Further arguments: `['--cluster-enabled', 'yes']`. */
  readonly args?: readonly string[];
  /** Runs as a Sentinel on this file, which it rewrites. */
  readonly sentinelConfigFile?: string;
}

/** How long a server may take to answer its first PING, or to end: generous, for machines that do much else. */
const startTimeoutMs = 15_000;
const portAttemptsMax = 5;

/** Starts a real redis-server of its own for one test. It ends with `stop()`, at the latest with this process. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-redis-'));
  const ca = options.tls ? await serverCertificate(folder) : undefined;
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    const server = new RedisServer(port, folder, options, ca);
    try {
      await server.restart();
      return server;
    } catch (error) {
      const portTaken = /Address already in use/.test((error as Error).message);
      if (portTaken && options.port === undefined && attempt < portAttemptsMax) continue;
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }
}

async function serverCertificate(folder: string): Promise<{ caFile: string; certFile: string; keyFile: string; ca: Buffer }> {
  const authority = await makeAuthority(folder);
  const issued = await authority.issue('localhost');
  return { caFile: authority.caFile, ...issued, ca: await readFile(authority.caFile) };
}

export class RedisServer {
  readonly url: string;
  /** The authority to trust, with `tls`. */
  readonly caFile: string | undefined;
  #child: ChildProcess | undefined;
  #unguard: () => void = () => {};
  #output = '';

  constructor(
    readonly port: number,
    readonly folder: string,
    private readonly options: RedisServerOptions,
    private readonly certificate: { caFile: string; certFile: string; keyFile: string; ca: Buffer } | undefined,
  ) {
    this.url = `${certificate ? 'rediss' : 'redis'}://127.0.0.1:${port}`;
    this.caFile = certificate?.caFile;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('redis-server does not run');
    return pid;
  }

  /** Starts it again on the same port and the same files; a server that runs is ended by SIGKILL first. */
  async restart(): Promise<void> {
    await this.kill9();
    this.#output = '';
    const child = spawn('redis-server', this.#arguments(), {
      cwd: this.folder,
      env: process.env, // Said out loud because under Jest the default is the environment from before the sandbox.
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => this.#keepOutput(chunk));
    child.stderr.on('data', (chunk: Buffer) => this.#keepOutput(chunk));
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause: NodeJS.ErrnoException) => reject(missingBinary(cause)));
    });
    this.#unguard = guardProcess(this.pid, this.folder);
    child.unref();
    for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref(): void }).unref();
    await waitUntil(() => this.#answers(), { what: 'redis-server answers PING', timeoutMs: startTimeoutMs });
  }

  /** As at a power cut of the process: nothing is flushed, nobody is told. */
  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#unguard();
    child.ref();
    child.kill('SIGKILL');
    await exited(child);
    this.#child = undefined;
  }

  /** It hangs: connections stay open, nothing answers. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  async stop(): Promise<void> {
    await this.kill9();
    await rm(this.folder, { recursive: true, force: true });
  }

  #arguments(): string[] {
    const { appendOnly, args = [], sentinelConfigFile } = this.options;
    const port = String(this.port);
    if (sentinelConfigFile !== undefined) return [sentinelConfigFile, '--sentinel', '--bind', '127.0.0.1', '--port', port, '--dir', this.folder, ...args];
    const listen = this.certificate
      ? ['--port', '0', '--tls-port', port, '--tls-cert-file', this.certificate.certFile, '--tls-key-file', this.certificate.keyFile,
         '--tls-ca-cert-file', this.certificate.caFile, '--tls-auth-clients', 'no']
      : ['--port', port];
    const durability = appendOnly ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    return ['--bind', '127.0.0.1', ...listen, '--dir', this.folder, '--save', '', ...durability, ...args];
  }

  #keepOutput(chunk: Buffer): void {
    this.#output = (this.#output + chunk.toString()).slice(-4_096);
  }

  /** One PING on a connection of its own; a server that loads its file answers -LOADING and is not there yet. */
  async #answers(): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`redis-server ended at its start:\n${this.#output}`);
    }
    const { port } = this;
    const socket = this.certificate
      ? connectTls({ host: '127.0.0.1', port, ca: this.certificate.ca })
      : connect({ host: '127.0.0.1', port });
    socket.setTimeout(1_000, () => socket.destroy());
    const answer = await new Promise<string>((resolve) => {
      socket.once('error', () => resolve(''));
      socket.once('close', () => resolve(''));
      socket.once('data', (data: Buffer) => resolve(data.toString()));
      socket.write('PING\r\n');
    });
    socket.destroy();
    return answer.startsWith('+PONG') || answer.startsWith('-NOAUTH');
  }
}

function missingBinary(cause: NodeJS.ErrnoException): Error {
  if (cause.code !== 'ENOENT') return cause;
  return new Error('the tests need a real redis-server and there is none on PATH: `apt-get install redis-server` (or your system\'s package)', {
    cause,
  });
}
