import type { Clock } from '@binnacle/cluster-state/clock';

const quietMs = 60_000;

/** True at most once a minute: what goes wrong with every capture is one log line a minute, not one a capture. */
export function rarely(clock: Clock): () => boolean {
  let nextMs = -Infinity;
  return () => {
    const nowMs = clock.monotonicMs();
    if (nowMs < nextMs) return false;
    nextMs = nowMs + quietMs;
    return true;
  };
}
