import type { Candidacy } from '@binnacle/cluster-state/candidacy';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { Candidate, ClusterState } from '@binnacle/cluster-state/cluster-state';
import type { NodeDirectory } from '@binnacle/cluster-state/node-directory';
import type { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { NodeConfig } from './config.js';
import type { Lifecycle } from './lifecycle.js';
import type { ResourceMonitor } from './resource-monitor.js';
import type { Settings } from './settings.js';

/**
 * What every part of a node may ask for, by injection (`constructor(private readonly node: NodeContext)`):
 * a class and not an interface, so that Nest can inject by type.
 */
export abstract class NodeContext {
  abstract readonly id: string;
  /** New at every start. */
  abstract readonly incarnation: string;
  abstract readonly roles: readonly string[];
  abstract readonly config: NodeConfig;
  abstract readonly clusterSecret: string;
  abstract readonly log: Logger;
  abstract readonly clock: Clock;
  abstract readonly state: ClusterState;
  /** Every node of the cluster, this one included. */
  abstract readonly directory: NodeDirectory;
  /** The dynamic configuration, the same on every node within a second. */
  abstract readonly settings: WatchedDocument<Settings>;
  abstract readonly metrics: Registry;
  abstract readonly lifecycle: Lifecycle;
  /** What this node is short of. */
  abstract readonly resources: ResourceMonitor;
  /** The leases this node campaigns for, by lease name; the agent listener serves `resign` for them. */
  abstract readonly candidacies: Map<string, Candidacy>;
  /** Facts that the registry shows (`zone`, `disagg-mode`, listener ports); may be added to at any time before the node runs. */
  abstract readonly labels: Record<string, string>;
  /** This node as a candidate; its address is known once the node listener is open. */
  abstract candidate(): Candidate;
  /** Adds something that starts and stops with the node; call it from a provider's constructor or `onModuleInit`. */
  abstract addPart(part: NodePart): void;
}

/** Something that starts and stops with its node. Parts start in the order they were added and stop in the reverse. */
export interface NodePart {
  readonly name: string;
  /** Throws `ConfigError` on what keeps the node from starting. Nothing is open or registered yet; cluster state may be asked. Not called in a mounted service. */
  check?(): Promise<void>;
  /**
   * The node listener is open; the node is Running once every part has started. It is registered, unless cluster state is away: then it
   * does not know yet whether it may join.
   */
  start?(): Promise<void>;
  /** After `start`, and not before the node may take part in the cluster: what competes for leases begins here. */
  join?(): Promise<void>;
  /** Takes no new work and finishes what runs. */
  drain?(): Promise<void>;
  /** How long `drain` may take on purpose, in milliseconds: the node's shutdown deadline is that much later. 0 if absent. */
  drainMsMax?(): number;
  /** What `/healthcheck` says of the part itself: resolves with a detail, rejects when it is unwell. Asks no other process. */
  health?(): Promise<string>;
  /** The same of what it depends on, for `/deepcheck`. */
  dependencies?(): Promise<string>;
  /** What `/expvar` shows besides, by name. */
  variables?(): Promise<Record<string, unknown>>;
  /** Whether the part takes what comes from outside the gateway; a node with one that does not is not ready. */
  readiness?(): { readonly ok: boolean; readonly detail: string };
  stop?(): Promise<void>;
}
