import type { BackendRole } from '../backends/backend.js';

/** What a namespace allows its clients; 0 is no limit. All of them hold for this proxy node, over all its workers. */
export interface NamespaceLimits {
  /** One more is refused with error 1040. */
  readonly connections: number;
  /** The same of each user, with error 1203. */
  readonly connectionsPerUser: number;
  /** Statements a second. */
  readonly queriesPerSecond: number;
  /** How many may come at once after a pause; as many as a second's if 0. */
  readonly queriesBurst: number;
  /** Statements at the backends at the same time. */
  readonly concurrentQueries: number;
  /** Sessions that wait for their turn, for either reason; one more is refused with error 1226. */
  readonly queueMax: number;
  /** Longest wait; then error 1226. */
  readonly queueWaitMs: number;
}

/** A namespace in effect, as it crosses to the workers: plain data. */
export interface NamespaceView {
  readonly namespace: string;
  /** Of these users; `*` and `?` as in globs, case-sensitive. Empty: any. */
  readonly users: readonly string[];
  /** From these networks (`10.0.0.0/8`, one address). Empty: any. */
  readonly cidrs: readonly string[];
  /** To these ports of the proxy. Empty: any. */
  readonly ports: readonly number[];
  /** Which backend cluster it is served by (`RouteWish.cluster`). */
  readonly cluster: string;
  /** `host:port` of backends of its own, which are the cluster then; empty if the cluster is one of the configuration. */
  readonly instances: readonly string[];
  readonly role: BackendRole;
  readonly limits: NamespaceLimits;
  /** Digests of statements that are refused with error 1148. */
  readonly refuseDigests: readonly string[];
}

export const noLimits: NamespaceLimits = { connections: 0, connectionsPerUser: 0, queriesPerSecond: 0, queriesBurst: 0, concurrentQueries: 0, queueMax: 100, queueWaitMs: 1_000 };

/** The namespace of everybody who is in no other; a stored one of the same name takes its place. */
export const defaultNamespace: NamespaceView = {
  namespace: 'default',
  users: [],
  cidrs: [],
  ports: [],
  cluster: 'default',
  instances: [],
  role: 'writer',
  limits: noLimits,
  refuseDigests: [],
};
