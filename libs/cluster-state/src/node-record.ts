import type { NodeRecord } from './cluster-state.js';

/** What of a record is worth waking others for. */
export function steadyPart(node: NodeRecord): string {
  // JSON leaves out what is undefined.
  return JSON.stringify({ ...node, appliedRevision: undefined, outstandingRequests: undefined, eventLoopDelayMs: undefined });
}

/** The rest: it changes with every heartbeat and is read by poll. */
export function figuresOf({ appliedRevision, outstandingRequests, eventLoopDelayMs }: NodeRecord): string {
  return JSON.stringify({ appliedRevision, outstandingRequests, eventLoopDelayMs });
}

/** `host:port`, as it stands in a URL: an IPv6 address in brackets. */
export function addressOf({ host, port }: Pick<NodeRecord, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
