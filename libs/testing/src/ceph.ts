import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import { exited, guardProcess } from './guarded-process.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);
const startTimeoutMs = 60_000;
/** Now and then the first command after an OSD came up waits for ever; the next one does not. */
const commandTimeoutMs = 10_000;
const attemptsMax = 4;

/** A real S3: Ceph with one monitor, one OSD in memory and one gateway, for one test file. It ends with `stop()`, at the latest with this process. */
export interface CephServer {
  /** Of the S3 gateway: `http://127.0.0.1:PORT`; buckets go into the path. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** What the S3 client looks for in the environment. */
  readonly env: Readonly<Record<'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY' | 'AWS_REGION', string>>;
  /** The gateway hangs: connections stay open, nothing answers. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export async function startCeph(): Promise<CephServer> {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-ceph-'));
  const daemons = new Daemons(folder);
  try {
    const [monitorPort, gatewayPort] = [await freePort(), await freePort()];
    const fsid = randomUUID();
    await writeFile(join(folder, 'ceph.conf'), configuration(folder, fsid, monitorPort, gatewayPort));
    await writeFile(join(folder, 'keyring'), '');
    for (const name of ['mon', 'osd', 'rgw']) await mkdir(join(folder, name));
    await startCluster(daemons, fsid, monitorPort);
    const accessKeyId = 'binnacle-test';
    const secretAccessKey = randomUUID();
    await daemons.command('radosgw-admin', ['user', 'create', '--uid=test', '--display-name=test', `--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`]);
    // Not before: both make the pools that are missing.
    const gateway = await daemons.start('radosgw', ['-f', '-n', 'client.admin']);
    const endpoint = `http://127.0.0.1:${gatewayPort}`;
    await waitUntil(() => daemons.isAnswering(endpoint), { what: 'the gateway of Ceph answers', timeoutMs: startTimeoutMs, intervalMs: 50 });
    return {
      endpoint,
      accessKeyId,
      secretAccessKey,
      env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: 'us-east-1' },
      pause: () => void gateway.kill('SIGSTOP'),
      resume: () => void gateway.kill('SIGCONT'),
      stop: () => daemons.stop(),
    };
  } catch (error) {
    await daemons.stop();
    throw error;
  }
}

async function startCluster(daemons: Daemons, fsid: string, monitorPort: number): Promise<void> {
  const { folder } = daemons;
  const map = join(folder, 'monmap');
  await run('monmaptool', ['--create', '--addv', 'a', `[v1:127.0.0.1:${monitorPort}]`, '--fsid', fsid, map]).catch(missingBinary);
  await daemons.command('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', map]);
  await daemons.start('ceph-mon', ['-f', '-i', 'a']);
  // The OSD must be made under the UUID that it was announced with.
  const osd = randomUUID();
  await daemons.command('ceph', ['osd', 'new', osd]);
  await daemons.command('ceph', ['osd', 'crush', 'add-bucket', 'here', 'host', 'root=default']);
  await daemons.command('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', osd]);
  await daemons.start('ceph-osd', ['-f', '-i', '0']);
}

/** The processes of one server. */
class Daemons {
  readonly #running: { child: ChildProcess; unguard: () => void }[] = [];
  #output = '';

  constructor(readonly folder: string) {}

  async start(program: string, args: readonly string[]): Promise<ChildProcess> {
    const child = spawn(program, ['-c', join(this.folder, 'ceph.conf'), ...args], { cwd: this.folder, env: process.env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-4_096)));
      (stream as unknown as { unref(): void }).unref();
    }
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    }).catch(missingBinary);
    this.#running.push({ child, unguard: guardProcess(child.pid as number, this.folder) });
    child.unref();
    return child;
  }

  async command(program: string, args: readonly string[]): Promise<void> {
    const options = { cwd: this.folder, env: process.env, timeout: commandTimeoutMs, killSignal: 'SIGKILL' } as const;
    for (let attempt = 1; ; attempt++) {
      try {
        await run(program, ['-c', join(this.folder, 'ceph.conf'), ...args], options);
        return;
      } catch (error) {
        const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string };
        // What a command did before it was killed is there.
        if (attempt > 1 && /exist/.test(stderr)) return;
        if (killed !== true || attempt === attemptsMax) missingBinary(error as NodeJS.ErrnoException);
      }
    }
  }

  async isAnswering(endpoint: string): Promise<boolean> {
    const ended = this.#running.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
    if (ended) throw new Error(`${ended.child.spawnfile} ended at its start:\n${this.#output}\n${await readFile(join(this.folder, 'client.admin.log'), 'utf8').catch(() => '')}`);
    return await fetch(endpoint, { signal: AbortSignal.timeout(1_000) }).then((answer) => answer.ok, () => false);
  }

  async stop(): Promise<void> {
    for (const { child } of this.#running) {
      child.ref();
      child.kill('SIGKILL');
    }
    await Promise.all(this.#running.map(({ child }) => exited(child)));
    for (const { unguard } of this.#running.splice(0)) unguard();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function configuration(folder: string, fsid: string, monitorPort: number, gatewayPort: number): string {
  return `[global]
fsid = ${fsid}
mon host = [v1:127.0.0.1:${monitorPort}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = ${folder}/keyring
run dir = ${folder}
crash dir = ${folder}
admin socket = ${folder}/$name.$pid.asok
log file = ${folder}/$name.log
mon cluster log file = ${folder}/cluster.log
mon data = ${folder}/mon
osd data = ${folder}/osd
rgw data = ${folder}/rgw
paxos propose interval = 0.05
paxos min wait = 0.01
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort}
`;
}

function missingBinary(cause: NodeJS.ErrnoException): never {
  if (cause.code !== 'ENOENT') throw cause;
  throw new Error('the tests need a real S3: `apt-get install --no-install-recommends ceph-mon ceph-osd ceph-mgr radosgw`', { cause });
}
