/*
 * What the node's main process and the workers that hold sessions say to each other. Everything is plain data that survives a structured clone, so it is
 * the same by a function call (one worker, in the main process) and over the channel of node:cluster (several).
 *
 * The main process knows backends, settings and namespaces and decides where sessions should go; a worker knows its sessions and does it.
 */

import type { RoutingView } from '../backends/backend.js';
import type { BackendStays } from './backend-stays.js';
import type { MetricsSnapshot } from '../metrics/families.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import type { NamespaceView } from '../tenants/namespace-document.js';
import type { TenantUsage } from '../tenants/tenants.js';
import type { CaptureEnd, CaptureOrder, CaptureProgress } from '../traffic/capture/capture-order.js';
import type { CloseOrder, MoveOrder, MoveReason, SessionCount } from '../balance/orders.js';

/** What a worker has to know before it can listen. */
export interface WorkerSetup {
  readonly nodeId: string;
  /** 0 and up. A session's id modulo `workersTotal` is the number of the worker that holds it. */
  readonly number: number;
  readonly workersTotal: number;
  readonly settings: SettingsView;
  readonly namespaces: readonly NamespaceView[];
  /** Known before the port is open: the first client of a worker finds backends. */
  readonly view: RoutingView;
  readonly log: { readonly level: string; readonly format: string };
  /** Texts that no log line may show. */
  readonly secrets: readonly string[];
}

/** What a session says of itself to people. */
export interface SessionSummary {
  readonly id: number;
  readonly worker: number;
  readonly user: string;
  readonly namespace: string;
  /** host:port, the real one where a PROXY header told it. */
  readonly client: string;
  readonly tls: boolean;
  readonly database: string;
  /** host:port; empty during the login. */
  readonly backend: string;
  readonly backendThreadId: number;
  readonly phase: string;
  readonly sinceMs: number;
  readonly commandsTotal: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly movable: boolean;
  /** Empty when it can move. */
  readonly why: readonly SessionReason[];
}

export interface SessionReason {
  /** Stable: `transaction`, `temporary-table`, ... */
  readonly code: string;
  readonly text: string;
}

export interface SessionFilter {
  readonly backend?: string;
  readonly user?: string;
  readonly movable?: boolean;
  /** The longest list: 1 to 5,000. */
  readonly limit: number;
}

export interface SessionList {
  /** By id. */
  readonly sessions: readonly SessionSummary[];
  /** How many there are that match, beyond the limit too. */
  readonly total: number;
}

/** Where a KILL has to go. */
export interface FoundSession {
  /** The node that holds it. */
  readonly node: string;
  readonly id: number;
  readonly user: string;
  /** host:port */
  readonly backend: string;
  readonly backendThreadId: number;
}

/** What became of one wish to move one session. */
export interface MoveOutcome {
  readonly sessionId: number;
  readonly from: string;
  readonly to: string;
  readonly reason: MoveReason;
  /** `refused`: it cannot move now, `why` says why; `failed`: it was tried, and the session stayed where it was; `lost`: the session ended meanwhile. */
  readonly result: 'moved' | 'refused' | 'failed' | 'lost';
  readonly why: readonly SessionReason[];
  /** How long the client was kept waiting, in milliseconds; 0 unless it was tried. */
  readonly pauseMs: number;
}

/** From the main process to a worker; nothing comes back. */
export type WorkerOrder =
  | { readonly kind: 'view'; readonly view: RoutingView }
  | { readonly kind: 'settings'; readonly settings: SettingsView }
  /** Those in effect. */
  | { readonly kind: 'namespaces'; readonly namespaces: readonly NamespaceView[] }
  /** Whether more memory is in use than new connections may come in at. */
  | { readonly kind: 'memory'; readonly full: boolean }
  /** What the other workers of this node have, where limits hold for all of them. */
  | { readonly kind: 'others'; readonly sessions: number; readonly tenants: TenantUsage }
  /** Moves up to `order.count` sessions that can: those that are idle first. Each one's outcome is reported. */
  | { readonly kind: 'move'; readonly order: MoveOrder }
  /** Closes every session that is still there, with an error. */
  | { readonly kind: 'close'; readonly order: CloseOrder }
  /** Takes no new connections; closes sessions as they come to a boundary outside a transaction, and the rest after `graceMs`. */
  | { readonly kind: 'shutdown'; readonly graceMs: number };

/** From the main process to a worker; every one is answered, or the worker has died. */
export interface WorkerQuestions {
  /** The first one. Fails when the port cannot be opened. */
  start: { ask: WorkerSetup; answer: { readonly addresses: readonly string[] } };
  sessions: { ask: SessionFilter; answer: SessionList };
  stays: { ask: { readonly backend: string }; answer: BackendStays };
  session: { ask: { readonly id: number }; answer: SessionSummary | undefined };
  /** Without `to` the router chooses. */
  migrate: { ask: { readonly id: number; readonly to?: string; readonly reason: MoveReason }; answer: MoveOutcome | undefined };
  /** Ends the session as KILL does; false when it is not here. */
  close: { ask: { readonly id: number }; answer: boolean };
  metrics: { ask: Record<string, never>; answer: MetricsSnapshot };
  /** Fails, with a text for people, where one runs or the output cannot be written. */
  captureStart: { ask: CaptureOrder; answer: CaptureProgress };
  /** Ends it: everything captured is written, and how it ended. Again, or where none runs: what came of the last one. */
  captureStop: { ask: CaptureEnd & { readonly job?: string }; answer: CaptureProgress | undefined };
  /** Of the one that runs, or the last one. */
  captureProgress: { ask: Record<string, never>; answer: CaptureProgress | undefined };
}

/** From a worker to the main process; nothing comes back. */
export type WorkerReport =
  /** Sent when it changed, at most ten times a second. `sessions` counts those in their login too. */
  | { readonly kind: 'counts'; readonly counts: readonly SessionCount[]; readonly sessions: number; readonly tenants: TenantUsage }
  | { readonly kind: 'moved'; readonly outcome: MoveOutcome }
  /** A session found its backend dead: a health check should look now. */
  | { readonly kind: 'backend-failed'; readonly backend: string; readonly text: string }
  /** After a shutdown order: no session is left. `cut` were closed at the deadline. */
  | { readonly kind: 'drained'; readonly cut: number };

/** From a worker to the main process, answered: a KILL may be for a session of another worker, or of another node. */
export interface NodeQuestions {
  find: { ask: { readonly id: number }; answer: FoundSession | undefined };
  /** A KILL of the whole connection succeeded at its backend: the session must end and not look for another backend. */
  killed: { ask: { readonly id: number }; answer: boolean };
}
