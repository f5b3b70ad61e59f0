import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';
import { makeDataFolder, makeRootAndSchema, MariadbServer } from './mariadb-server.js';
import { waitUntil } from './wait-until.js';

const run = promisify(execFile);

export interface GaleraOptions {
  /** Default 2; of 3 and more, one that is gone leaves a majority as in real life, of 2 the other one goes on alone. */
  readonly nodes?: number;
  /** Further flags of every server. */
  readonly args?: readonly string[];
}

const providerFile = '/usr/lib/galera/libgalera_smm.so';
const syncTimeoutMs = 60_000;
const startAttemptsMax = 3;

/**
 * Copies a data folder to a node that joins, for nodes of one machine: MariaDB's own rsync script starts a daemon, which fails for root
 * (it writes as nobody), and takes seconds for its waits. The words on standard output are the protocol between mariadbd and such scripts.
 */
const transferScript = `#!/bin/sh
bypass=0
while [ $# -gt 0 ]; do
  case "$1" in
    --role) role=$2; shift ;;
    --address) address=$2; shift ;;
    --datadir) folder=\${2%/}; shift ;;
    --gtid) gtid=$2; shift ;;
    --gtid-domain-id) domain=$2; shift ;;
    --parent) parent=$2; shift ;;
    --bypass) bypass=1 ;;
  esac
  shift
done
wait_for() {
  left=1200
  until [ -s "$1" ]; do
    left=$((left - 1))
    [ $left -gt 0 ] && { [ -z "$parent" ] || kill -0 "$parent" 2>/dev/null; } || exit 32
    sleep 0.05
  done
}
if [ "$role" = joiner ]; then
  rm -f "$folder/transferred"
  echo "ready $folder"
  wait_for "$folder/transferred"
  cat "$folder/transferred"
  exit 0
fi
if [ $bypass = 0 ]; then
  rm -f "$folder/tables_flushed"
  echo 'flush tables'
  wait_for "$folder/tables_flushed"
  state=$(cat "$folder/tables_flushed")
  rm "$folder/tables_flushed"
  find "$address" -mindepth 1 ! -name galera.cache ! -name grastate.dat -delete
  tar -C "$folder" --exclude=./galera.cache --exclude=./grastate.dat --exclude=./gvwstate.dat --exclude=./transferred \\
    --exclude='./binlog.*' --exclude=./ibtmp1 -cf - . | tar -C "$address" -xf - || exit 32
else
  state="$gtid $domain"
fi
echo continue
echo "$state" > "$address/transferring" && mv "$address/transferring" "$address/transferred"
echo "done $gtid"
`;

/** Several real MariaDB servers that all take writes, synchronously replicated, on 127.0.0.1. The first pair takes about three seconds. */
export async function startGalera(options: GaleraOptions = {}): Promise<GaleraCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await planCluster(options);
    try {
      for (const node of cluster.nodes) await node.restart();
      return cluster;
    } catch (error) {
      await cluster.stop();
      // Ports were found free a moment before; somebody else may have been quicker.
      if (!/Address already in use/.test((error as Error).message) || attempt === startAttemptsMax) throw error;
    }
  }
}

async function planCluster(options: GaleraOptions): Promise<GaleraCluster> {
  if (!existsSync(providerFile)) throw new Error('the tests need Galera and there is none: `apt-get install galera-4`');
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-galera-'));
  const count = options.nodes ?? 2;
  const ports = await Promise.all(Array.from({ length: count }, async () => [await freePort(), await freePort(), await freePort()] as const));
  const address = `gcomm://${ports.map(([, group]) => `127.0.0.1:${group}`).join(',')}`;
  const cluster = new GaleraCluster(folder);
  const scripts = join(folder, 'bin');
  await mkdir(scripts);
  await writeFile(join(scripts, 'wsrep_sst_folder'), transferScript);
  await chmod(join(scripts, 'wsrep_sst_folder'), 0o755);
  for (const [at, [port, group, increments]] of ports.entries()) {
    const nodeFolder = join(folder, `node-${at}`);
    const data = join(nodeFolder, 'data');
    await mkdir(data, { recursive: true });
    if (at === 0) await makeDataFolder(data);
    const args = [...clusterFlags(address, group, increments, count), `--wsrep-sst-receive-address=${data}`, ...(options.args ?? [])];
    cluster.nodes.push(new GaleraNode(cluster, port, nodeFolder, args, { ...process.env, PATH: `${scripts}:${process.env['PATH']}` }));
  }
  return cluster;
}

function clusterFlags(address: string, groupPort: number, incrementsPort: number, count: number): string[] {
  const provider = {
    'gmcast.listen_addr': `tcp://127.0.0.1:${groupPort}`,
    'ist.recv_addr': `127.0.0.1:${incrementsPort}`,
    'gcache.size': '16M',
    // A node that was killed is missed after this time; commits of the others wait for so long. Shorter, and a busy machine parts the nodes.
    'evs.keepalive_period': 'PT0.5S',
    'evs.suspect_timeout': 'PT2S',
    'evs.inactive_timeout': 'PT6S',
    'pc.ignore_sb': count === 2 ? 'true' : 'false',
  };
  return [
    '--wsrep-on=ON',
    `--wsrep-provider=${providerFile}`,
    `--wsrep-provider-options=${Object.entries(provider).map(([name, value]) => `${name}=${value}`).join(';')}`,
    `--wsrep-cluster-address=${address}`,
    `--wsrep-node-address=127.0.0.1:${groupPort}`,
    '--wsrep-sst-method=folder',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
  ];
}

export class GaleraCluster {
  readonly nodes: GaleraNode[] = [];
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill9()));
    await rm(this.folder, { recursive: true, force: true });
  }
}

export class GaleraNode extends MariadbServer {
  readonly #cluster: GaleraCluster;
  readonly #args: readonly string[];
  readonly #environment: NodeJS.ProcessEnv;

  constructor(cluster: GaleraCluster, port: number, folder: string, args: readonly string[], environment: NodeJS.ProcessEnv) {
    super(port, folder, args, environment);
    this.#cluster = cluster;
    this.#args = args;
    this.#environment = environment;
  }

  /**
   * Resolves when the node is synced: it has got what it missed (increments, also after `kill9`), or everything. Where no other
   * node runs it begins the cluster. After a kill it first waits for the others to miss it: two lives of a node at once confuse Galera for a minute.
   */
  override async restart(flags: readonly string[] = []): Promise<void> {
    await this.kill9();
    const data = join(this.folder, 'data');
    const isNew = !existsSync(join(data, 'grastate.dat'));
    const others = this.#cluster.nodes.filter((node) => node !== this && node.runs);
    const isFirst = others.length === 0;
    for (const node of others) await waitUntil(async () => (await node.clusterSize()) === others.length, { what: 'the others have missed the node', timeoutMs: syncTimeoutMs, intervalMs: 50 });
    const position = isNew ? [] : await this.#recoveredPosition(data);
    if (isFirst && !isNew) await allowBeginning(join(data, 'grastate.dat'));
    await super.restart([...position, ...(isFirst ? ['--wsrep-new-cluster'] : []), ...flags]);
    if (isFirst && isNew) {
      await waitUntil(() => this.#isReady(''), { what: 'the first node begins the cluster', timeoutMs: syncTimeoutMs, intervalMs: 50 });
      await makeRootAndSchema(this);
    }
    await waitUntil(() => this.#isReady('root'), { what: 'the node is synced', timeoutMs: syncTimeoutMs, intervalMs: 50 });
  }

  /** Number of nodes it sees, itself included; 0 when it does not answer. */
  async clusterSize(): Promise<number> {
    const line = await this.sql("SHOW STATUS LIKE 'wsrep_cluster_size'").catch(() => '');
    return Number(line.split('\t')[1] ?? 0);
  }

  async #isReady(password: string): Promise<boolean> {
    if (!this.runs) throw new Error(`mariadbd ended at its start:\n${this.output}`);
    const line = await this.sql("SHOW STATUS LIKE 'wsrep_local_state_comment'", password).catch(() => '');
    return line.trim().endsWith('Synced');
  }

  /** After a kill only InnoDB knows how far the node was; told so, the node asks for increments in place of everything. */
  async #recoveredPosition(data: string): Promise<string[]> {
    if (!/seqno: +-1/.test(await readFile(join(data, 'grastate.dat'), 'utf8'))) return [];
    const flags = ['--no-defaults', `--datadir=${data}`, `--user=${userInfo().username}`, '--innodb-log-file-size=8M', `--socket=${this.socketFile}`, `--tmpdir=${this.folder}`];
    const recover = [...flags, '--log-bin=binlog', ...this.#args, '--wsrep-recover'];
    const { stdout, stderr } = await run('mariadbd', recover, { env: this.#environment, timeout: syncTimeoutMs, maxBuffer: 4 * 1_048_576 });
    const position = /Recovered position: *(\S+)/.exec(stdout + stderr)?.[1];
    return position === undefined ? [] : [`--wsrep-start-position=${position}`];
  }
}

/** What an operator does to the node that was ahead before the first start of a cluster that was down as a whole. */
async function allowBeginning(stateFile: string): Promise<void> {
  const state = await readFile(stateFile, 'utf8');
  await writeFile(stateFile, state.replace('safe_to_bootstrap: 0', 'safe_to_bootstrap: 1'));
}
