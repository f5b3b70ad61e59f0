import type { HeldSession } from './held-sessions.js';
import type { SessionFilter, SessionList, SessionSummary } from './worker-protocol.js';

/** What a session says of itself. */
export function summaryOf({ session, leavingTo }: HeldSession, worker: number): SessionSummary {
  const { client, backend } = session;
  const why = session.why();
  return {
    id: session.id,
    worker,
    user: session.user,
    namespace: session.namespace,
    client: client.address.includes(':') ? `[${client.address}]:${client.remotePort}` : `${client.address}:${client.remotePort}`,
    tls: client.tls,
    database: session.database,
    backend: backend.backend.id,
    backendThreadId: backend.threadId,
    phase: leavingTo === undefined ? session.phase : 'moving',
    sinceMs: session.startedAtMs,
    commandsTotal: session.commandsTotal,
    bytesIn: client.channel.bytesRead,
    bytesOut: client.channel.bytesWritten,
    movable: why.length === 0,
    why: why.map(({ code, text }) => ({ code, text })),
  };
}

/** The sessions of one worker that a filter lets through, by id. */
export function listedSessions(sessions: Iterable<HeldSession>, worker: number, { backend, user, movable, limit }: SessionFilter): SessionList {
  const matching = [...sessions].filter(
    ({ session }) =>
      (backend === undefined || session.backend.backend.id === backend) &&
      (user === undefined || session.user === user) &&
      (movable === undefined || (session.why().length === 0) === movable),
  );
  const first = matching.sort((a, b) => a.session.id - b.session.id).slice(0, limit);
  return { sessions: first.map((held) => summaryOf(held, worker)), total: matching.length };
}
