import { globMatches } from '../glob.js';
import { contains, networkOf, type Network } from '../network.js';
import { Namespace, type NamespaceDeps, type NamespaceUsage } from './namespace.js';
import { defaultNamespace, type NamespaceView } from './namespace-document.js';

/** What is known of a client before its namespace is. */
export interface ClientFacts {
  readonly user: string;
  /** The real one, where a PROXY header told it. */
  readonly address: string;
  /** Of the proxy, that it came to. */
  readonly port: number;
}

interface Rule {
  readonly view: NamespaceView;
  readonly networks: readonly Network[];
}

/** Connections by namespace. */
export type TenantUsage = Readonly<Record<string, NamespaceUsage>>;

/** The namespaces of one worker, and which one a client belongs to. */
export class Tenants {
  readonly #deps: NamespaceDeps;
  readonly #namespaces = new Map<string, Namespace>();
  #rules: readonly Rule[] = [];
  #others: TenantUsage = {};

  constructor(deps: NamespaceDeps, views: readonly NamespaceView[] = []) {
    this.#deps = deps;
    this.update(views);
  }

  /** Those in effect; `default` need not be among them. Sessions of a namespace that is gone keep it, with the limits it had. */
  update(views: readonly NamespaceView[]): void {
    const all = views.some(({ namespace }) => namespace === defaultNamespace.namespace) ? views : [...views, defaultNamespace];
    for (const view of all) {
      const known = this.#namespaces.get(view.namespace);
      if (known === undefined) this.#namespaces.set(view.namespace, new Namespace(view, this.#deps));
      else known.update(view);
    }
    const names = new Set(all.map(({ namespace }) => namespace));
    for (const [name, namespace] of this.#namespaces) if (!names.has(name) && namespace.connections === 0) this.#namespaces.delete(name);
    this.#rules = all.map((view) => ({ view, networks: view.cidrs.map(networkOf) }));
    this.setOthers(this.#others);
  }

  /**
   * The namespace whose every condition the client meets. Of several the one with more kinds of conditions counts, then the one whose network
   * is the narrowest, then the one that names the user without wildcards, then the first by name. Who meets none is in `default`.
   */
  match(client: ClientFacts): Namespace {
    let best: Rule | undefined;
    let bestRank: Rank = noRank;
    for (const rule of this.#rules) {
      const rank = rankOf(rule, client);
      if (rank !== undefined && isBetter(rank, bestRank)) {
        best = rule;
        bestRank = rank;
      }
    }
    return this.#namespaces.get((best?.view ?? defaultNamespace).namespace) as Namespace;
  }

  namespaces(): Iterable<Namespace> {
    return this.#namespaces.values();
  }

  /** For the other workers of this node: what `setOthers` takes there, summed. */
  usage(): TenantUsage {
    return Object.fromEntries([...this.#namespaces].filter(([, { connections }]) => connections > 0).map(([name, namespace]) => [name, namespace.usage()]));
  }

  setOthers(others: TenantUsage): void {
    this.#others = others;
    for (const [name, namespace] of this.#namespaces) namespace.setOthers(others[name] ?? { connections: 0 });
  }
}

/** Usage of several workers as one. */
export function sumUsage(parts: readonly TenantUsage[]): TenantUsage {
  const sums: Record<string, { connections: number; users: Record<string, number> }> = {};
  for (const part of parts) {
    for (const [name, { connections, users = {} }] of Object.entries(part)) {
      const sum = (sums[name] ??= { connections: 0, users: {} });
      sum.connections += connections;
      for (const [user, count] of Object.entries(users)) sum.users[user] = (sum.users[user] ?? 0) + count;
    }
  }
  return sums;
}

/** kinds of conditions, bits of the network, 1 for a user without wildcards, and against the name. */
type Rank = readonly [kinds: number, bits: number, exactUser: number, name: string];
const noRank: Rank = [-1, 0, 0, ''];

function isBetter(one: Rank, other: Rank): boolean {
  for (let index = 0; index < 3; index++) if (one[index] !== other[index]) return (one[index] as number) > (other[index] as number);
  return one[3] < other[3];
}

function rankOf({ view, networks }: Rule, { user, address, port }: ClientFacts): Rank | undefined {
  if (view.ports.length > 0 && !view.ports.includes(port)) return undefined;
  const matching = view.users.filter((pattern) => globMatches(pattern, user));
  if (view.users.length > 0 && matching.length === 0) return undefined;
  const bits = networks.filter((network) => contains(network, address)).map((network) => network.bits);
  if (networks.length > 0 && bits.length === 0) return undefined;
  const kinds = Number(view.ports.length > 0) + Number(view.users.length > 0) + Number(networks.length > 0);
  return [kinds, Math.max(0, ...bits), Number(matching.includes(user)), view.namespace];
}
