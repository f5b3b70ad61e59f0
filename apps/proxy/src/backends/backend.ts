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

/** One database server as the last checks saw it. Plain data: it crosses to workers by structured clone. */
export interface Backend {
  /** `host:port`, as configured or discovered. */
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Name of the backend cluster; `default` without several. */
  readonly cluster: string;
  readonly kind: BackendKind;
  /** Of the last successful check; stays while the server is down. */
  readonly greeting?: BackendGreeting;
  readonly healthy: boolean;
  /** Why it is unhealthy or drained; empty if neither. */
  readonly reason: string;
  /** Takes no new session, and those it has are moved away: drained by an operator, on the fail list, or about to shut down. */
  readonly draining: boolean;
  /** Since when sessions have to leave it (wall clock); past `closeAtMs` those that could not are closed. */
  readonly closeAtMs?: number;
  /** False as long as nobody could ask. */
  readonly readOnly: boolean;
  /**
   * Servers of the same data share it, and only between those a session may move: `galera:UUID`, `gr:UUID`, `tidb:CLUSTER`,
   * `replication:ROOT`; a server of which nothing is known is alone under its own id.
   */
  readonly group: string;
  /** GTID position as printed by the server (`@@gtid_current_pos`, `@@gtid_executed`), as of the last check. */
  readonly gtidPosition?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Lower case; undefined as long as nobody could ask, then every unknown function has to be taken for one. */
  readonly storedFunctions?: ReadonlySet<string>;
}

/** Lower is better. Made of the factors in their order of priority, so it only compares within one view. */
export interface ScoredBackend extends Backend {
  readonly score: number;
}

export interface RoutingView {
  /** Grows by one with every view of this node. */
  readonly version: number;
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

/** Whether a session of this role may be there; `any` and the writer's moves are narrowed further by `mayMove`. */
export function playsRole(backend: Pick<Backend, 'readOnly'>, role: BackendRole): boolean {
  return role === 'any' || backend.readOnly === (role === 'replica');
}

/**
 * Whether sessions may move between the two as far as the servers are concerned: the same data, and never from one that takes writes to
 * one that refuses them, except for sessions that asked for a replica.
 */
export function mayMove(from: Backend, to: Backend, role: BackendRole): boolean {
  if (from.id === to.id || from.cluster !== to.cluster || from.group !== to.group || !playsRole(to, role)) return false;
  return role === 'replica' || from.readOnly || !to.readOnly;
}
