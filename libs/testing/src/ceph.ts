import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import { exited, guardProcess } from './guarded-process.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);
/** Two seconds on a machine that has nothing else to do, eight where six others want the same core. */
const startTimeoutMs = 120_000;
const startsMax = 2;
/** For `beforeAll`, and for tests that start one: when this is over, the start has given up by itself and said why. */
export const cephStartTimeoutMs = 300_000;
/**
 * Now and then a client sends before it has heard which cluster it talks to, and the monitor refuses that or drops it: then the command fails,
 * or waits for ever. The next one does not, so the first limit is short; the later ones are for machines that do much else.
 */
const commandTimeoutsMs = [10_000, 20_000, 40_000];
/** The gateway is such a client, too. */
const gatewayTimeoutMs = 60_000;
const logBytesMax = 2_000;

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

/** Tries twice, the second time in another folder and on other ports. Rejects with what the daemons said last. */
export async function startCeph(): Promise<CephServer> {
  for (let start = 1; ; start++) {
    const daemons = new Daemons(await mkdtemp(join(tmpdir(), 'binnacle-ceph-')));
    try {
      return await startOn(daemons);
    } catch (error) {
      const output = await daemons.lastOutput();
      await daemons.stop();
      if (error instanceof MissingBinary) throw error;
      if (start === startsMax) throw new Error(`Ceph did not start, ${start} times: ${(error as Error).message}\n${output}`, { cause: error });
    }
  }
}

async function startOn(daemons: Daemons): Promise<CephServer> {
  const { folder } = daemons;
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
  await waitUntil(() => daemons.isAnswering(endpoint), { what: 'the gateway of Ceph answers', timeoutMs: Math.min(gatewayTimeoutMs, daemons.restMs()), intervalMs: 50 });
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: 'us-east-1' },
    pause: () => void gateway.kill('SIGSTOP'),
    resume: () => void gateway.kill('SIGCONT'),
    stop: () => daemons.stop(),
  };
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
  readonly #deadlineMs = performance.now() + startTimeoutMs;
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

  restMs(): number {
    return Math.max(1, this.#deadlineMs - performance.now());
  }

  async command(program: string, args: readonly string[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      this.#assertRunning();
      const timeout = Math.min(commandTimeoutsMs[attempt] ?? 0, this.restMs());
      const running = run(program, ['-c', join(this.folder, 'ceph.conf'), ...args], { cwd: this.folder, env: process.env, timeout, killSignal: 'SIGKILL' });
      const unguard = running.child.pid === undefined ? () => {} : guardProcess(running.child.pid, this.folder);
      try {
        await running;
        return;
      } catch (error) {
        const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string };
        // What a command did before it was killed is there.
        if (attempt > 0 && /exist/.test(stderr)) return;
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') missingBinary(error as Error);
        const isLast = attempt + 1 === commandTimeoutsMs.length || this.restMs() === 1;
        if (isLast) throw new Error(`${program} ${args.slice(0, 2).join(' ')} ${killed ? 'did not end in time' : 'failed'}: ${stderr}`, { cause: error });
      } finally {
        unguard();
      }
    }
  }

  async isAnswering(endpoint: string): Promise<boolean> {
    this.#assertRunning();
    return await fetch(endpoint, { signal: AbortSignal.timeout(5_000) }).then((answer) => answer.ok, () => false);
  }

  #assertRunning(): void {
    const ended = this.#running.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
    if (ended) throw new Error(`${ended.child.spawnfile} ended at its start`);
  }

  /** What they printed, and the end of every log file. */
  async lastOutput(): Promise<string> {
    const logs = (await readdir(this.folder).catch(() => [])).filter((name) => name.endsWith('.log'));
    const ends = await Promise.all(logs.map(async (name) => `${name}:\n${(await readFile(join(this.folder, name), 'utf8')).slice(-logBytesMax)}`));
    return [this.#output, ...ends].join('\n');
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

class MissingBinary extends Error {}

function missingBinary(cause: NodeJS.ErrnoException): never {
  if (cause.code !== 'ENOENT') throw cause;
  throw new MissingBinary('the tests need a real S3: `apt-get install --no-install-recommends ceph-mon ceph-osd ceph-mgr radosgw`', { cause });
}
