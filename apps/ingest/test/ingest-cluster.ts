import type { NodeConfig } from '@binnacle/node-kit/config';
import { exited, guardProcess } from '@binnacle/testing/guarded-process';
import { freePort } from '@binnacle/testing/free-port';
import { waitUntil } from '@binnacle/testing/wait-until';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RawMessageWriter } from '../src/forwarding/raw-message-writer.js';
import { CounterSeries } from '../src/series/series.js';
import { type IngestNode, newFolder, removeFolder, samplesOf, startIngest } from './ingest-node.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const secret = 'a-secret-of-32-characters-or-so!';
const heartbeatTtlMs = 1_000;

export interface Row {
  readonly node: string;
  readonly name: string;
  readonly kind: string;
  readonly tags: readonly string[];
  readonly value: number;
}

export interface Load {
  reached(acknowledged: number): Promise<void>;
  /** `heard`: names of the counters that were acknowledged; `mostInFlush`: an upper bound of what one node took in between two flushes. */
  stop(): Promise<{ acknowledged: number; heard: readonly string[]; unanswered: number; mostInFlush: number }>;
}

export interface IngestProcess {
  kill(): Promise<void>;
  end(): Promise<void>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
}

export function counterMessage(name: string, value: number): Buffer {
  const series = new CounterSeries({ kind: 'counter', name, tags: [], source: '' });
  series.value = value;
  const writer = new RawMessageWriter('gostatsd');
  writer.add(series);
  return writer.take()[0] as Buffer;
}

/** Ingest nodes of one cluster, without a storage role: their rows are in their spools. */
export class IngestCluster {
  readonly nodes: IngestNode[] = [];
  readonly #folder = newFolder();
  readonly #addresses = new Map<string, string>();
  readonly #ends: (() => Promise<void>)[] = [];

  constructor(private readonly redisUrl: string) {}

  /** In this process; flushes when it is told to, or under load. */
  async start(id: string, change: (config: NodeConfig) => void = () => {}): Promise<IngestNode> {
    const node = await startIngest(this.#folder, (config) => {
      Object.assign(config.node, { id, clusterSecret: secret, heartbeatTtlMs, drainDelayMs: 0 });
      config.redis.url = this.redisUrl;
      config.ingest.statsd = false;
      config.ingest.lineSource = 'none';
      change(config);
    });
    this.nodes.push(node);
    this.#addresses.set(id, node.node.address);
    return node;
  }

  /** A process of its own, which flushes by itself. */
  async startProcess(id: string, flushIntervalMs = 200): Promise<IngestProcess> {
    const port = await freePort();
    const flags = [`--node.id=${id}`, `--data-dir=${this.#folder}`, `--node.port=${port}`, `--node.cluster-secret=${secret}`, `--node.heartbeat-ttl-ms=${heartbeatTtlMs}`, '--node.drain-delay-ms=0'];
    const child = spawn(process.execPath, [main, ...flags, `--redis.url=${this.redisUrl}`, '--ingest.statsd=false', `--ingest.flush-interval-ms=${flushIntervalMs}`, '--log.level=silent'], { stdio: 'inherit' });
    guardProcess(child.pid as number, this.#folder);
    const gone = exited(child);
    const end = async (name: NodeJS.Signals): Promise<void> => {
      this.#addresses.delete(id);
      child.kill(name);
      await gone;
    };
    this.#ends.push(() => end('SIGKILL'));
    await waitUntil(async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.status === 200, { timeoutMs: 20_000 });
    this.#addresses.set(id, `127.0.0.1:${port}`);
    return { kill: () => end('SIGKILL'), end: () => end('SIGTERM'), signal: (name) => void child.kill(name) };
  }

  /** Every node of this process knows exactly these, and they run. */
  async known(ids: readonly string[]): Promise<void> {
    const shown = ({ node }: IngestNode): string => node.context.directory.byRole('ingest').filter(({ state }) => state === 'running').map(({ id }) => id).sort().join();
    await waitUntil(() => this.nodes.every((node) => shown(node) === ids.join()), { timeoutMs: 20_000, what: `${ids.join()} know each other` });
  }

  async leave(node: IngestNode): Promise<void> {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.#addresses.delete(node.node.context.id);
    await node.stop();
  }

  /** As if it had come over UDP. */
  takeLine({ ingest }: IngestNode, text: string): void {
    const lines = Buffer.from(text);
    ingest.lines.take(lines, 0, lines.length, '');
  }

  async post(node: IngestNode, message: Buffer): Promise<void> {
    const { status } = await node.fetch('/v2/raw', { method: 'POST', body: new Uint8Array(message) });
    if (status !== 202) throw new Error(`${node.node.context.id} answered ${status}`);
  }

  /** Counters of 1, each message with a name of its own, by turns to all nodes or those that are named, which flush meanwhile. */
  load(names: readonly string[], flushMs: number, ids?: readonly string[]): Load {
    const heard: string[] = [];
    let [acknowledged, unanswered, sent, mostInFlush, isOver] = [0, 0, 0, 0, false];
    const client = async (): Promise<void> => {
      while (!isOver) {
        const targets = [...this.#addresses].filter(([id]) => ids?.includes(id) ?? true);
        const [, address] = targets[sent % targets.length] as [string, string];
        const name = `${names[sent % names.length]}.${sent++}`;
        const body = new Uint8Array(counterMessage(name, 1));
        const answer = await fetch(`http://${address}/v2/raw`, { method: 'POST', body, headers: { 'x-binnacle-cluster-secret': secret }, signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
        if (answer?.status === 202) acknowledged = heard.push(name);
        else unanswered += 1;
      }
    };
    const flusher = async (): Promise<void> => {
      for (let before = 0; !isOver; before = acknowledged) {
        await new Promise((resolve) => setTimeout(resolve, flushMs));
        await Promise.all(this.nodes.map(({ ingest }) => ingest.flush()));
        mostInFlush = Math.max(mostInFlush, acknowledged - before);
      }
    };
    const running = [client(), client(), client(), client(), flusher()];
    return {
      reached: async (count) => void (await waitUntil(() => acknowledged >= count, { timeoutMs: 30_000 })),
      stop: async () => {
        isOver = true;
        await Promise.all(running);
        // What came to a process is in no window of this one's flushes alone.
        return { acknowledged, heard, unanswered, mostInFlush: 2 * mostInFlush };
      },
    };
  }

  /** Until nothing is on its way between nodes, and all of it is rows. */
  async settle(): Promise<void> {
    for (let round = 0; round < 3; round++) {
      await Promise.all(this.nodes.map(({ ingest }) => ingest.flush()));
      await waitUntil(() => this.nodes.every(({ ingest }) => ingest.spool.lanes().every((lane) => !lane.startsWith('peer-'))), { timeoutMs: 60_000, what: 'everything is handed over' });
    }
  }

  /** Of every node that ever was, in order. */
  rows(): Row[] {
    return this.#parts('tables').flatMap(({ node, path }) =>
      readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => ({ ...(JSON.parse(line) as Row), node })),
    );
  }

  sums(kind: string): Map<string, number> {
    const sums = new Map<string, number>();
    for (const row of this.rows()) if (row.kind === kind) sums.set(row.name, (sums.get(row.name) ?? 0) + row.value);
    return sums;
  }

  total(kind: string): number {
    return [...this.sums(kind).values()].reduce((sum, value) => sum + value, 0);
  }

  /** Lanes in spools, also of nodes that ended. */
  waiting(prefix: string): string[] {
    return this.#parts(prefix).map(({ node, lane }) => `${node} ${lane}`);
  }

  /** What one node shows of its own. */
  async ownSamples(node: IngestNode): Promise<Map<string, number>> {
    return samplesOf(await (await node.fetch('/agent/v1/ingest/exposition')).text());
  }

  async stop(): Promise<void> {
    for (const node of this.nodes.splice(0)) await node.stop();
    for (const end of this.#ends.splice(0)) await end();
    removeFolder(this.#folder);
  }

  #parts(lanePrefix: string): { node: string; lane: string; path: string }[] {
    const root = join(this.#folder, 'ingest');
    const nodes = existsSync(root) ? readdirSync(root) : [];
    return nodes.flatMap((folder) => {
      const spool = join(root, folder, 'spool');
      const batches = readdirSync(spool).filter((name) => !name.endsWith('.half')).sort();
      return batches.flatMap((batch) => readdirSync(join(spool, batch)).sort().map((file) => ({ node: folder.slice('node-'.length), lane: file.split(',')[1] as string, path: join(spool, batch, file) }))).filter(({ lane }) => lane.startsWith(lanePrefix));
    });
  }
}
