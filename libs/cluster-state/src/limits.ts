import type { CampaignRequest, Candidate, DocumentWrite, NodeRecord, ResignRequest } from './cluster-state.js';

/*
 * What both implementations refuse before anything is sent: a caller's mistake is a RangeError, never a store that "is away".
 */

/** Tenures kept of a lease; a full history of one lease is then about 250 kB. */
export const tenuresPerLeaseMax = 1_000;
/** Candidates remembered as waiting for one lease; one more still gets the lease when it is free, but is not listed. */
export const waitingPerLeaseMax = 1_000;
/** Registered nodes; times 16 KiB this is 64 MiB in the store at the worst. */
export const nodesMax = 4_096;
/** Write ids remembered per document: a retry comes within seconds, and this many writers do not get in between. */
export const requestIdsPerDocumentMax = 64;
/** Operations under way in one process; one more is refused. Formula: 20,000 operations a second x half a second. */
export const pendingOperationsMax = 10_000;

/** How long a resigned lease is kept for the successor when the caller does not say: a few of its renewal rounds. */
export const defaultReservedMs = 5_000;

const nodeRecordBytesMax = 16 * 1024;
const documentBytesMax = 1024 * 1024;
const signalBytesMax = 64 * 1024;
const durationMsMax = 24 * 3_600_000;
const termMax = 2 ** 46; // Lua prints integers up to 14 digits without an exponent.

const simpleName = /^[A-Za-z0-9._-]{1,64}$/;
const pathLikeName = /^[A-Za-z0-9._:/-]{1,256}$/;

export function checkCampaign({ lease, candidate, ttlMs, termFloor }: CampaignRequest): void {
  checkLeaseName(lease);
  checkCandidate(candidate);
  checkDuration('ttlMs', ttlMs);
  if (!Number.isInteger(termFloor) || termFloor < 0 || termFloor > termMax) throw new RangeError(`termFloor ${termFloor} is no term`);
}

export function checkResign({ lease, candidate, successor, reservedMs }: ResignRequest): void {
  checkLeaseName(lease);
  checkCandidate(candidate);
  if (successor !== undefined) checkNodeId(successor);
  if (reservedMs !== undefined) checkDuration('reservedMs', reservedMs);
}

export function checkLeaseName(name: string): void {
  if (!simpleName.test(name)) throw new RangeError('a lease name is 1 to 64 letters, digits, dots, dashes or underscores');
}

export function checkNodeId(id: string): void {
  if (!simpleName.test(id)) throw new RangeError('a node id is 1 to 64 letters, digits, dots, dashes or underscores');
}

export function checkCandidate(candidate: Candidate): void {
  checkNodeId(candidate.nodeId);
  checkIncarnation(candidate.incarnation);
  if (candidate.address.length > 300) throw new RangeError('an address has at most 300 characters');
}

export function checkIncarnation(incarnation: string): void {
  if (!simpleName.test(incarnation)) throw new RangeError('an incarnation is 1 to 64 letters, digits, dots, dashes or underscores');
}

export function checkDuration(name: string, ms: number): void {
  if (!Number.isFinite(ms) || ms < 1 || ms > durationMsMax) throw new RangeError(`${name} must be 1 to ${durationMsMax}, not ${ms}`);
}

export function checkNode(node: NodeRecord, ttlMs: number): void {
  checkNodeId(node.id);
  checkIncarnation(node.incarnation);
  checkDuration('ttlMs', ttlMs);
  if (Buffer.byteLength(JSON.stringify(node)) > nodeRecordBytesMax) throw new RangeError(`a node record has at most ${nodeRecordBytesMax} bytes`);
}

export function checkDocumentKey(key: string): void {
  if (!pathLikeName.test(key)) throw new RangeError('a document key is 1 to 256 letters, digits and . _ : / -');
}

export function checkDocumentWrite({ key, value, expectedVersion, requestId }: DocumentWrite): void {
  checkDocumentKey(key);
  if (!simpleName.test(requestId)) throw new RangeError('a request id is 1 to 64 letters, digits, dots, dashes or underscores');
  if (!Number.isInteger(expectedVersion) || expectedVersion < 0) throw new RangeError(`expectedVersion ${expectedVersion} is no version`);
  if (Buffer.byteLength(value) > documentBytesMax) throw new RangeError(`a document has at most ${documentBytesMax} bytes`);
}

export function checkSignal(topic: string, payload: string): void {
  checkTopic(topic);
  if (Buffer.byteLength(payload) > signalBytesMax) throw new RangeError(`a signal has at most ${signalBytesMax} bytes`);
}

export function checkTopic(topic: string): void {
  if (!pathLikeName.test(topic)) throw new RangeError('a topic is 1 to 256 letters, digits and . _ : / -');
}

export function checkHistoryLimit(limit: number): number {
  if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`limit must be a whole number from 1 on, not ${limit}`);
  return Math.min(limit, tenuresPerLeaseMax);
}
