import type { Dialect, HttpMethod, Route, TargetRule } from '../route.js';

/** What a row of the table has to say; the rest has defaults. */
export type RouteFacts = Pick<Route, 'summary' | 'target' | 'action'> & Partial<Omit<Route, 'method' | 'path' | 'dialects'>>;

export const secondMs = 1_000;
export const minuteMs = 60_000;
export const kibibyte = 1_024;
export const mebibyte = 1_024 * kibibyte;

/** Longest capture a client may ask for (`seconds=600`), and the time to encode and render what was captured. */
export const captureDeadlineMs = 600 * secondMs + minuteMs;

const json = 'application/json; charset=utf-8';
/** A request that needs no body may still bring a small one: SDKs send `{}`. */
const bodyBytesMaxDefault = 16 * kibibyte;

/** One row. Unless it says otherwise it answers JSON within 10 s, and only GET may be sent twice, or to every node. */
export function defineRoute(dialects: readonly Dialect[], method: HttpMethod, path: string, facts: RouteFacts): Route {
  return {
    retryable: method === 'GET',
    everyNode: method === 'GET',
    deadlineMs: 10 * secondMs,
    bodyBytesMax: bodyBytesMaxDefault,
    produces: json,
    ...facts,
    method,
    path,
    dialects,
  };
}

export const self: TargetRule = { kind: 'self' };
/** What programs ask TiFlash of itself: the gateway is not what they mean. */
export const selfOfStorage: TargetRule = { kind: 'self', rather: 'storage' };
export const anyGateway: TargetRule = { kind: 'role', role: 'gateway' };
export const anyStorage: TargetRule = { kind: 'role', role: 'storage' };
export const anyWriteNode: TargetRule = { kind: 'role', role: 'storage', mode: 'write' };
export const anyComputeNode: TargetRule = { kind: 'role', role: 'storage', mode: 'compute' };
/** Whose collector runs; while nobody owns the lease, a node that could. */
export const remoteGcOwner: TargetRule = { kind: 'lease-owner', lease: 'remote-gc', role: 'storage', mode: 'write' };
export const anyProxy: TargetRule = { kind: 'role', role: 'proxy' };
export const anyCluster: TargetRule = { kind: 'role', role: 'cluster' };
export const anyHealth: TargetRule = { kind: 'role', role: 'health' };
/** The health role answers for all storage nodes, or for the named one. */
export const healthOfStorage: TargetRule = { kind: 'subject', role: 'health', subjectRole: 'storage' };
export const anyIngest: TargetRule = { kind: 'role', role: 'ingest' };
/** Metadata is decided by the leader. */
export const leader: TargetRule = { kind: 'lease-owner', lease: 'leader', role: 'storage' };
/** The profiling role captures, keeps and renders; the named node is the one profiled. */
export const profiled: TargetRule = { kind: 'subject', role: 'profiling', subjectRole: 'any' };
/** The same where the profiles of all nodes merge into one. */
export const profiledTogether: TargetRule = { kind: 'subject', role: 'profiling', subjectRole: 'any', together: true };
/** What the profiling role keeps of a node, which may have left since. */
export const keptOfNode: TargetRule = { ...profiled, mayHaveLeft: true };
/** The same where `*` is what is kept of several nodes together. */
export const keptOfNodes: TargetRule = { ...profiled, mayHaveLeft: true, together: true };
/** Every profiling node finds what any of them keeps. */
export const anyProfiling: TargetRule = { kind: 'role', role: 'profiling' };
/** The cluster role decides about a storage node. */
export const aboutStorage: TargetRule = { kind: 'subject', role: 'cluster', subjectRole: 'storage' };
/** The same where all storage nodes are meant by `*`, together. */
export const aboutStorageTogether: TargetRule = { ...aboutStorage, together: true };
