import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import { exited, guardProcess } from './guarded-process.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);

export interface MariadbServerOptions {
  /** Further flags: `['--max-connections=5', '--session-track-system-variables=*']`. */
  readonly args?: readonly string[];
  /** Default: a free one. */
  readonly port?: number;
  /** Follows this server, by GTID, from its beginning. */
  readonly replicaOf?: MariadbServer;
}

/** How long a server may take for its files and its first answer: generous, for machines that do much else. */
const startTimeoutMs = 60_000;
const portAttemptsMax = 5;
const sqlTimeoutMs = 20_000;

/** Small, and without waits for the disk: a test's server loses its data anyway. */
const sparing = [
  '--innodb-buffer-pool-size=16M',
  '--innodb-log-file-size=8M',
  '--innodb-flush-log-at-trx-commit=0',
  '--innodb-doublewrite=0',
  '--key-buffer-size=64K',
  '--performance-schema=0',
  '--skip-name-resolve',
];

/**
 * Starts a real MariaDB of its own for one test, on 127.0.0.1 and a socket in a temporary folder. `root` with the password `root` may
 * come over TCP; the schema `test` is there. It ends with `stop()`, at the latest with this process. Takes a few seconds.
 */
export async function startMariadb(options: MariadbServerOptions = {}): Promise<MariadbServer> {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-mariadb-'));
  try {
    await makeDataFolder(join(folder, 'data'));
    for (let attempt = 1; ; attempt++) {
      const server = new MariadbServer(options.port ?? (await freePort()), folder, options.args ?? []);
      try {
        await server.restart();
        await prepare(server, options.replicaOf);
        return server;
      } catch (error) {
        await server.kill9();
        const portTaken = /Address already in use/.test((error as Error).message);
        if (!portTaken || options.port !== undefined || attempt === portAttemptsMax) throw error;
      }
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

export async function makeDataFolder(dataFolder: string): Promise<void> {
  const args = [
    '--no-defaults',
    `--datadir=${dataFolder}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--innodb-log-file-size=8M',
    `--user=${userInfo().username}`,
  ];
  // Two servers that start with the same folder for temporary files delete each other's.
  const env = { ...process.env, TMPDIR: dirname(dataFolder) };
  await run('mariadb-install-db', args, { env, timeout: startTimeoutMs }).catch((cause: unknown) => {
    throw missingBinary(cause as NodeJS.ErrnoException);
  });
}

/** On a server with new files: root's password, and the schema `test`. */
export async function makeRootAndSchema(server: MariadbServer): Promise<void> {
  const grants = "SET PASSWORD FOR root@localhost = PASSWORD('root'); GRANT ALL ON *.* TO root@'127.0.0.1' IDENTIFIED BY 'root' WITH GRANT OPTION";
  await server.sql(`${grants}; CREATE DATABASE test;`, '');
}

async function prepare(server: MariadbServer, replicaOf: MariadbServer | undefined): Promise<void> {
  if (replicaOf === undefined) return makeRootAndSchema(server);
  const source = `MASTER_HOST='127.0.0.1', MASTER_PORT=${replicaOf.port}, MASTER_USER='root', MASTER_PASSWORD='root'`;
  await server.sql(`CHANGE MASTER TO ${source}, MASTER_USE_GTID=slave_pos; START SLAVE`, '');
  await waitUntil(() => server.sql('SHOW DATABASES').then((names) => /^test$/m.test(names), () => false), {
    what: 'the replica has the schema of its source',
    timeoutMs: startTimeoutMs,
    intervalMs: 50,
  });
}

let lastServerId = 0;

export class MariadbServer {
  readonly socketFile: string;
  readonly #serverId = ++lastServerId;
  #child: ChildProcess | undefined;
  #unguard: () => void = () => {};
  #output = '';

  readonly port: number;
  readonly folder: string;
  readonly #args: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;

  constructor(port: number, folder: string, args: readonly string[], environment: NodeJS.ProcessEnv = process.env) {
    this.port = port;
    this.folder = folder;
    this.#args = args;
    this.#environment = environment;
    this.socketFile = join(folder, 'socket');
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('mariadbd does not run');
    return pid;
  }

  get runs(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it printed last: at most 16 KB. */
  get output(): string {
    return this.#output;
  }

  /** Starts it again on the same port and the same files, with further flags this once; a server that runs is ended by SIGKILL first. */
  async restart(flags: readonly string[] = []): Promise<void> {
    await this.kill9();
    this.#output = '';
    const child = spawn('mariadbd', [...this.#arguments(), ...flags], { cwd: this.folder, env: this.#environment, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-16_384)));
      (stream as unknown as { unref(): void }).unref();
    }
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause: NodeJS.ErrnoException) => reject(missingBinary(cause)));
    });
    this.#unguard = guardProcess(this.pid, this.folder);
    child.unref();
    await waitUntil(() => this.#greets(), { what: 'mariadbd greets', timeoutMs: startTimeoutMs, intervalMs: 25 });
  }

  /** As at a power cut of the process. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As an operator stops it: connections get their errors, files are closed. */
  async shutDown(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    child.ref();
    child.kill(signal);
    await exited(child);
    this.#unguard();
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

  /** Runs statements as root over the socket, past every proxy: rows as lines, columns tab-separated, no headings. Rejects with the server's error. */
  async sql(statements: string, password = 'root'): Promise<string> {
    const args = ['--no-defaults', `--socket=${this.socketFile}`, '--user=root', `--password=${password}`, '--batch', '--skip-column-names', '-e', statements];
    const { stdout } = await run('mariadb', args, { timeout: sqlTimeoutMs, maxBuffer: 16 * 1_048_576 });
    return stdout;
  }

  #arguments(): string[] {
    const own = [
      '--no-defaults',
      `--datadir=${join(this.folder, 'data')}`,
      `--socket=${this.socketFile}`,
      `--pid-file=${join(this.folder, 'pid')}`,
      `--tmpdir=${this.folder}`,
      `--port=${this.port}`,
      `--user=${userInfo().username}`,
      '--skip-networking=0',
      '--bind-address=127.0.0.1',
      `--server-id=${this.#serverId}`,
      '--log-bin=binlog',
      '--sync-binlog=0',
    ];
    return [...own, ...sparing, ...this.#args];
  }

  /** Whether a connection is greeted: the first packet comes only when the server takes logins. */
  async #greets(): Promise<boolean> {
    if (!this.runs) {
      throw new Error(`mariadbd ended at its start:\n${this.#output}`);
    }
    const socket = connect({ host: '127.0.0.1', port: this.port });
    socket.setTimeout(1_000, () => socket.destroy());
    const greeted = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
      socket.once('data', () => resolve(true));
    });
    socket.destroy();
    return greeted;
  }
}

function missingBinary(cause: NodeJS.ErrnoException): Error {
  if (cause.code !== 'ENOENT') return cause;
  return new Error('the tests need a real MariaDB and there is none on PATH: `apt-get install mariadb-server`', { cause });
}
