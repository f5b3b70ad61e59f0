import type { BackendKind } from './backend.js';
import type { ServerFacts } from './server-facts.js';

/** A server as far as its group depends on it. */
export interface Grouped {
  /** host:port */
  readonly id: string;
  readonly cluster: string;
  readonly kind: BackendKind;
  readonly healthy: boolean;
  /** Of the last time it could be asked. */
  readonly facts?: ServerFacts;
}

/**
 * Which servers have the same data, by id: all of a TiDB cluster, of a Galera cluster, of a replication group, or of one tree of asynchronous replication,
 * whose root gives the name. Servers nobody could ask are alone.
 *
 * A failover goes through moments in which nobody replicates from anybody. A server that is down or read-only then stays with those it was with before,
 * so that its sessions find the new primary; one that takes writes on its own does not: from then on the data differ.
 *
 * @param before the answer of the last time
 */
export function groupsOf(servers: readonly Grouped[], before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const groups = new Map<string, string>();
  const parents = new Map<string, string>();
  for (const server of servers) {
    const own = ownGroup(server);
    if (own !== undefined) groups.set(server.id, own);
    else if (server.facts?.source !== undefined) parents.set(server.id, sourceIn(server, servers));
  }
  const sources = new Set(parents.values());
  for (const server of servers) {
    if (groups.has(server.id)) continue;
    const root = rootOf(server.id, parents);
    // A replica of a Galera node has that cluster's data.
    const rooted = groups.get(root);
    if (rooted !== undefined) groups.set(server.id, rooted);
    else groups.set(server.id, parents.has(server.id) || sources.has(server.id) ? `replication:${root}` : server.id);
  }
  for (const server of servers) {
    if (groups.get(server.id) !== server.id || (server.healthy && server.facts?.readOnly !== true)) continue;
    const fellows = servers.filter(({ id }) => id !== server.id && before.has(id) && before.get(id) === before.get(server.id));
    const [group, ...others] = new Set(fellows.map(({ id }) => groups.get(id)!));
    if (group !== undefined && others.length === 0) groups.set(server.id, group);
  }
  return groups;
}

/**
 * Those that follow another of the servers, by id: what is written there reaches nobody else, whatever their `read_only` says. Of a ring all pass on what
 * they are told; two that follow the same outsider have nothing of each other.
 */
export function followersIn(servers: readonly Grouped[]): Set<string> {
  const parents = new Map(servers.flatMap((server) => (ownGroup(server) === undefined && server.facts?.source !== undefined ? [[server.id, sourceIn(server, servers)] as const] : [])));
  const ids = new Set(servers.map(({ id }) => id));
  const sources = [...parents.values()];
  const isShared = (source: string): boolean => ids.has(source) || sources.indexOf(source) !== sources.lastIndexOf(source);
  return new Set([...parents].filter(([id, source]) => isShared(source) && !isInRing(id, parents)).map(([id]) => id));
}

function isInRing(id: string, parents: ReadonlyMap<string, string>): boolean {
  const passed = new Set<string>();
  for (let at = parents.get(id); at !== undefined && !passed.has(at); at = parents.get(at)) {
    if (at === id) return true;
    passed.add(at);
  }
  return false;
}

function ownGroup({ kind, cluster, facts }: Grouped): string | undefined {
  if (kind === 'tidb') return `tidb:${cluster}`;
  if (facts?.galera !== undefined) return `galera:${facts.galera}`;
  return facts?.groupReplication === undefined ? undefined : `gr:${facts.groupReplication}`;
}

/** The source among the servers we know, or its own name for it: it may be known to us by another address, so its UUID or number is looked at too. */
function sourceIn(replica: Grouped, servers: readonly Grouped[]): string {
  const { host, port, uuid, serverId } = replica.facts!.source!;
  const id = `${host}:${port}`;
  const others = servers.filter((server) => server.id !== replica.id && server.cluster === replica.cluster);
  if (others.some((server) => server.id === id)) return id;
  const byUuid = others.find((server) => uuid !== undefined && server.facts?.serverUuid === uuid);
  if (byUuid !== undefined) return byUuid.id;
  const byNumber = others.filter((server) => serverId !== undefined && server.facts?.serverId === serverId);
  return byNumber.length === 1 ? byNumber[0]!.id : id;
}

/** Where the chain of sources ends. Servers that replicate from each other have none: the first of them in alphabetical order stands for all. */
function rootOf(id: string, parents: ReadonlyMap<string, string>): string {
  const path: string[] = [];
  for (let at: string | undefined = id; at !== undefined; at = parents.get(at)) {
    const loop = path.indexOf(at);
    if (loop !== -1) return path.slice(loop).toSorted()[0]!;
    path.push(at);
  }
  return path.at(-1)!;
}
