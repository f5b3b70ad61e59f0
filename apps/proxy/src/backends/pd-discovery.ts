import { isIP } from 'node:net';
import type { Clock } from '@binnacle/cluster-state/clock';
import { peerAddress } from '@binnacle/node-kit/value-forms';
import { request, type Dispatcher } from 'undici';
import { inOrder, type Discovered } from './discovery.js';
import { limitedText } from './limited-text.js';
import { PolledDiscovery, type Finding } from './polled-discovery.js';

export interface PdDiscoveryOptions {
  readonly cluster: string;
  /** `host:port` of every PD; asked one after the other until one answers. */
  readonly pdAddrs: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** PD is asked over TLS by what this gives now; undefined: plain HTTP. */
  readonly tls: () => Dispatcher | undefined;
}

const prefix = '/topology/tidb/';
/** Some hundred bytes a server. */
const bodyBytesMax = 8 * 1_048_576;
const backendsMax = 4_096;

interface Topology {
  readonly ip?: unknown;
  readonly status_port?: unknown;
  readonly labels?: unknown;
}

/** The TiDB servers that PD knows: each keeps two keys there, what it is and that it lives. */
export class PdDiscovery extends PolledDiscovery {
  readonly #options: PdDiscoveryOptions;
  /** The PD that answered last. */
  #first = 0;

  constructor(options: PdDiscoveryOptions) {
    super(`PD of cluster ${options.cluster}`, options.clock, options.intervalMs);
    this.#options = options;
  }

  protected async look(): Promise<Finding> {
    const { pdAddrs, cluster } = this.#options;
    const failures: string[] = [];
    for (let i = 0; i < pdAddrs.length; i++) {
      const index = (this.#first + i) % pdAddrs.length;
      try {
        const found = readTopology(await this.#range(pdAddrs[index]!), cluster);
        this.#first = index;
        return { found, problem: '' };
      } catch (error) {
        failures.push(`${pdAddrs[index]}: ${(error as Error).message}`);
      }
    }
    return { problem: `no PD answers (${failures.join('; ')}); what it said last counts` };
  }

  async #range(address: string): Promise<unknown> {
    const { timeoutMs } = this.#options;
    const tls = this.#options.tls();
    const signal = AbortSignal.timeout(timeoutMs);
    const { statusCode, body } = await request(`${tls === undefined ? 'http' : 'https'}://${address}/v3/kv/range`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key: base64(prefix), range_end: base64('/topology/tidb0') }),
      signal,
      ...(tls !== undefined && { dispatcher: tls }),
    });
    const text = await limitedText(body, bodyBytesMax);
    if (statusCode !== 200) throw new Error(`HTTP ${statusCode}`);
    return JSON.parse(text) as unknown;
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Servers with both keys: that of a dead one, `ttl`, is gone after 45 s. What is no entry is passed over, what is no answer of etcd throws. */
export function readTopology(answer: unknown, cluster: string): Discovered[] {
  if (typeof answer !== 'object' || answer === null) throw new Error('no answer of etcd');
  const { kvs = [] } = answer as { kvs?: unknown };
  if (!Array.isArray(kvs)) throw new Error('no answer of etcd');
  const infos = new Map<string, Topology>();
  const alive = new Set<string>();
  for (const pair of kvs as readonly { key?: unknown; value?: unknown }[]) {
    if (typeof pair?.key !== 'string') continue;
    const [, address, kind] = /^\/topology\/tidb\/(.+)\/(info|ttl)$/.exec(Buffer.from(pair.key, 'base64').toString()) ?? [];
    if (kind === 'ttl') alive.add(address!);
    const info = kind === 'info' && typeof pair.value === 'string' ? parseInfo(pair.value) : undefined;
    if (info !== undefined) infos.set(address!, info);
  }
  const found: Discovered[] = [];
  for (const [text, info] of infos) {
    const address = alive.has(text) ? peerAddress(text) : undefined;
    if (address === undefined || found.length === backendsMax) continue;
    const statusPort = Number(info.status_port);
    const host = typeof info.ip === 'string' && info.ip !== '' && info.ip !== '0.0.0.0' ? info.ip : address.host;
    found.push({
      ...address,
      cluster,
      // A pod is called by the first label of its name.
      names: isIP(address.host) === 0 ? [address.host, address.host.split('.')[0]!] : [address.host],
      labels: labelsOf(info.labels),
      ...(Number.isInteger(statusPort) && statusPort > 0 && statusPort <= 65_535 && { status: { host, port: statusPort } }),
    });
  }
  return inOrder(found);
}

function parseInfo(value: string): Topology | undefined {
  try {
    const info: unknown = JSON.parse(Buffer.from(value, 'base64').toString());
    return typeof info === 'object' && info !== null ? info : undefined;
  } catch {
    return undefined;
  }
}

function labelsOf(labels: unknown): Record<string, string> {
  if (typeof labels !== 'object' || labels === null) return {};
  return Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
