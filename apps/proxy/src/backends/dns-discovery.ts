import { promises as dns, type SrvRecord } from 'node:dns';
import type { Clock } from '@binnacle/cluster-state/clock';
import { addressOf, type Discovered } from './discovery.js';
import { PolledDiscovery, type Finding } from './polled-discovery.js';

export interface DnsDiscoveryOptions {
  /** A host name; with an underscore before it (`_mysql._tcp.example.com`) its SRV records are asked for, and their ports count. */
  readonly name: string;
  readonly port: number;
  readonly cluster: string;
  /** `address` or `address:port`; empty: the system's resolver, hosts file and search domains included. */
  readonly nsServers: readonly string[];
  readonly intervalMs: number;
  readonly clock: Clock;
  /** How long an address counts that the name has no more. Some servers answer with a part of many addresses, each time another one. */
  readonly keepMs: () => number;
}

const timeoutMs = 2_000;
const tries = 2;
/** Addresses of one name; more would be no list of database servers. */
const addressesMax = 256;
const gone = new Set(['ENOTFOUND', 'ENODATA', 'NXDOMAIN']);

/** Asks for a name again and again. */
export class DnsDiscovery extends PolledDiscovery {
  readonly #options: DnsDiscoveryOptions;
  readonly #resolver: dns.Resolver | undefined;
  readonly #seen = new Map<string, { readonly found: Discovered; atMs: number }>();

  constructor(options: DnsDiscoveryOptions) {
    super(`DNS name ${options.name}`, options.clock, options.intervalMs);
    this.#options = options;
    if (options.nsServers.length === 0) return;
    this.#resolver = new dns.Resolver({ timeout: timeoutMs, tries });
    this.#resolver.setServers([...options.nsServers]);
  }

  override stop(): void {
    super.stop();
    this.#resolver?.cancel();
  }

  protected async look(): Promise<Finding> {
    const { name, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    try {
      for (const found of await this.#resolve()) this.#seen.set(addressOf(found.host, found.port), { found, atMs: nowMs });
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === undefined || !gone.has(code)) {
        // A resolver that does not answer says nothing about the servers.
        for (const seen of this.#seen.values()) seen.atMs = nowMs;
        return { problem: `${name} cannot be looked up (${code ?? message}); what it was last counts` };
      }
    }
    return this.#stillThere(nowMs);
  }

  #stillThere(nowMs: number): Finding {
    const { name, keepMs } = this.#options;
    for (const [id, { atMs }] of this.#seen) if (atMs !== nowMs && nowMs - atMs >= keepMs()) this.#seen.delete(id);
    const all = [...this.#seen].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, seen]) => seen);
    const missing = all.filter(({ atMs }) => atMs !== nowMs).length;
    const found = all.slice(0, addressesMax).map((seen) => seen.found);
    if (all.length === 0) return { found, problem: `${name} has no addresses` };
    // Without numbers: they would be another message every time.
    const lost = missing === all.length ? 'has no addresses any more' : 'has lost addresses';
    if (missing > 0) return { found, problem: `${name} ${lost}; they are kept for the time of failover-timeout` };
    return { found, problem: all.length > addressesMax ? `${name} has ${all.length} addresses, of which ${addressesMax} are used` : '' };
  }

  async #resolve(): Promise<Discovered[]> {
    const { name, port, cluster } = this.#options;
    const server = (host: string, at: number, called: string): Discovered => ({ host, port: at, cluster, names: [called] });
    if (name.startsWith('_')) {
      const records = await (this.#resolver ?? new dns.Resolver({ timeout: timeoutMs, tries })).resolveSrv(name);
      // Of several priorities only the first is meant to be used; a target of "." says that there is none.
      const first = Math.min(...records.map(({ priority }) => priority));
      const used = records.filter((record: SrvRecord) => record.priority === first && record.name !== '' && record.name !== '.');
      const all = await Promise.all(used.map(async (record) => (await this.#addresses(record.name)).map((host) => server(host, record.port, record.name))));
      return all.flat();
    }
    return (await this.#addresses(name)).map((host) => server(host, port, name));
  }

  /** Rejects with a code of `gone` if there are none. */
  async #addresses(name: string): Promise<string[]> {
    const resolver = this.#resolver;
    if (resolver === undefined) return [...new Set((await dns.lookup(name, { all: true })).map(({ address }) => address))];
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length > 0) return found;
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as NodeJS.ErrnoException] : []));
    throw failures.find(({ code }) => code === undefined || !gone.has(code)) ?? failures[0] ?? Object.assign(new Error('no addresses'), { code: 'ENODATA' });
  }
}
