import type { Clock } from '@binnacle/cluster-state/clock';

const lookMs = 10;

/** Resolves once `isSo`, or at the deadline. */
export async function waitFor(clock: Clock, deadlineMs: number, isSo: () => boolean): Promise<void> {
  const untilMs = clock.monotonicMs() + deadlineMs;
  while (!isSo() && clock.monotonicMs() < untilMs) await new Promise<void>((resolve) => void clock.after(lookMs, resolve));
}
