import type { HeldSession } from './held-sessions.js';

/** What is still on a backend, and why. */
export interface BackendStays {
  readonly sessions: number;
  readonly movable: number;
  /** The most frequent reason first; a session may have several. */
  readonly stay: readonly StayReason[];
}

export interface StayReason {
  readonly code: string;
  /** Of one of the sessions. */
  readonly text: string;
  readonly sessions: number;
}

/** Of one worker. */
export function staysOn(backend: string, held: Iterable<HeldSession>): BackendStays {
  const parts: BackendStays[] = [];
  for (const { session } of held) {
    if (session.backend.backend.id !== backend) continue;
    const why = session.why();
    parts.push({ sessions: 1, movable: why.length === 0 ? 1 : 0, stay: why.map(({ code, text }) => ({ code, text, sessions: 1 })) });
  }
  return summedStays(parts);
}

/** Of several workers, or nodes. */
export function summedStays(parts: readonly BackendStays[]): BackendStays {
  const reasons = new Map<string, StayReason>();
  let [sessions, movable] = [0, 0];
  for (const part of parts) {
    sessions += part.sessions;
    movable += part.movable;
    for (const reason of part.stay) {
      const known = reasons.get(reason.code);
      reasons.set(reason.code, known === undefined ? reason : { ...known, sessions: known.sessions + reason.sessions });
    }
  }
  return { sessions, movable, stay: [...reasons.values()].sort((a, b) => b.sessions - a.sessions || (a.code < b.code ? -1 : 1)) };
}
