/** What speaks at the other end. Unknown until a server has greeted once. */
export type BackendKind = 'tidb' | 'mysql' | 'mariadb' | 'unknown';

/** What a session may be sent to: a server that takes writes, one that does not, or either. */
export type BackendRole = 'writer' | 'replica' | 'any';

/** What a server greets with, as far as it is the same for every connection. */
export interface BackendGreeting {
  /** As printed, with MariaDB's `5.5.5-` before it where the server sends that. */
  readonly serverVersion: string;
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  readonly collation: number;
}

/** What a server's own metrics say of it; parts that are not known are left away, and then count for nothing. */
export interface BackendLoad {
  /** Shares of all its cores, 0 to 1: smoothed, and of the last seconds, together with how many sessions this node had there then. */
  readonly cpu?: { readonly average: number; readonly latest: number; readonly sessions: number };
  /** Share of its memory limit, 0 to 1, and how long the rest will do at the present growth. */
  readonly memory?: { readonly usage: number; readonly secondsToFull: number };
  /** Trouble with what lies behind it (PD, TiKV): 0 none, 1 some, 2 too much. */
  readonly errors?: 0 | 1 | 2;
}

/** One database server as the last checks saw it. Plain data: it crosses to workers by structured clone. */
export interface Backend {
  /** `host:port`, as configured or discovered. */
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Name of the backend cluster; `default` without several. */
  readonly cluster: string;
  /** Only where it is in several, as the instance of several namespaces: all of them, in alphabetical order. */
  readonly clusters?: readonly string[];
  readonly kind: BackendKind;
  /** Of the last successful check; stays while the server is down. */
  readonly greeting?: BackendGreeting;
  readonly healthy: boolean;
  /** Why it is unhealthy or drained; empty if neither. */
  readonly reason: string;
  /** Takes no new session, and those it has are moved away: drained by an operator, on the fail list, or about to shut down. */
  readonly draining: boolean;
  /** While draining: when sessions that could not leave are closed (wall clock). Absent: never. */
  readonly closeAtMs?: number;
  /** Its connections are used up: it answers 1040. What runs there goes on. */
  readonly full?: boolean;
  /** It failed again and again lately, or the last check of it did: sessions are not moved there, and new ones only if nothing else is left. */
  readonly unsteady?: boolean;
  readonly load?: BackendLoad;
  /** It says so itself, or follows another one that is known here. False as long as nobody could ask. */
  readonly readOnly: boolean;
  /**
   * Servers of the same data share it, and only between those a session may move: `galera:UUID`, `gr:UUID`, `tidb:CLUSTER`,
   * `replication:ROOT`; a server of which nothing is known is alone under its own id.
   */
  readonly group: string;
  /** GTID position as printed by the server (`@@gtid_current_pos`, `@@gtid_executed`), as of the last check. */
  readonly gtidPosition?: string;
  /** TiDB: whether it has the certificate that session tokens are signed with. Undefined as long as nobody could ask. */
  readonly signsTokens?: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Lower case; undefined as long as nobody could ask, then every unknown function has to be taken for one. */
  readonly storedFunctions?: ReadonlySet<string>;
}

/** How a new session finds its backend: the best one, any of the best ones, or any. */
export type RoutingPolicy = 'idlest' | 'prefer-idle' | 'random';

export interface ScoredBackend extends Backend {
  /** Lower is better. Made of the factors in their order of priority, so it only compares within one view. */
  readonly score: number;
  /** The part of `score` that is not the number of sessions. */
  readonly scoreBeforeSessions: number;
  /** What the sessions of one worker since the view do to its CPU: absent if that is not known. */
  readonly cpuStep?: { readonly usage: number; readonly perSession: number; readonly weight: number };
}

export interface RoutingView {
  /** Grows by one with every view of this node. */
  readonly version: number;
  readonly routingPolicy: RoutingPolicy;
  /** Best first. */
  readonly backends: readonly ScoredBackend[];
}

/** Where a new session is to go. */
export interface RouteWish {
  /** Absent: any cluster. */
  readonly cluster?: string;
  readonly role: BackendRole;
  /** Ids that were tried already. */
  readonly exclude: ReadonlySet<string>;
  /** Absent: any group. */
  readonly group?: string;
}

export function isInCluster(backend: Backend, cluster: string): boolean {
  return backend.clusters?.includes(cluster) ?? backend.cluster === cluster;
}

/** The same for backends that serve exactly the same clusters: whoever may be on one may be on the other. */
export function clustersOf(backend: Backend): string {
  return backend.clusters?.join(' ') ?? backend.cluster;
}

/** Whether a session of this role may be there; `any` and the writer's moves are narrowed further by `mayMove`. */
export function playsRole(backend: Pick<Backend, 'readOnly'>, role: BackendRole): boolean {
  return role === 'any' || backend.readOnly === (role === 'replica');
}

/**
 * Whether sessions may move between the two as far as the servers are concerned: the same data, and never from one that takes writes to
 * one that refuses them, except for sessions that asked for a replica.
 */
export function mayMove(from: Backend, to: Backend, role: BackendRole): boolean {
  if (from.id === to.id || clustersOf(from) !== clustersOf(to) || from.group !== to.group || !playsRole(to, role)) return false;
  return role === 'replica' || from.readOnly || !to.readOnly;
}
