/** Failures in a row that eject a node. */
export const consecutiveFailuresMax = 5;
/** A window ends after this long; only a node with enough requests in it is judged by their share. */
export const windowMs = 10_000;
export const windowRequestsMin = 20;
export const windowFailureShareMax = 0.5;
/** The first ejection; each further one is twice as long. */
export const ejectionMsMin = 1_000;
export const ejectionMsMax = 60_000;
/** A node that has been back for this long starts again with the shortest ejection. */
export const forgivenAfterMs = 60_000;

/** How long the nth ejection (from 1) lasts, in milliseconds. */
export function ejectionMs(nth: number): number {
  return Math.min(ejectionMsMax, ejectionMsMin * 2 ** (nth - 1));
}

/**
 * Whether a node fails its requests too often. A failure is a connection that could not be made or broke, or an answer that did not come
 * in time; a status of 500 is an answer like any other (`/healthcheck` uses it), so it is none.
 */
export class OutlierDetection {
  #consecutiveFailures = 0;
  #windowEndsMs = 0;
  #windowRequests = 0;
  #windowFailures = 0;
  #ejections = 0;
  #ejectedUntilMs = -Infinity;

  /** Does not ask for the time, which costs something: a window that is over is noticed by the next failure. */
  success(): void {
    this.#consecutiveFailures = 0;
    this.#windowRequests++;
  }

  /** True when this failure ejects the node. */
  failure(nowMs: number): boolean {
    if (nowMs >= this.#windowEndsMs) {
      this.#windowEndsMs = nowMs + windowMs;
      this.#windowRequests = 0;
      this.#windowFailures = 0;
    }
    this.#consecutiveFailures++;
    this.#windowRequests++;
    this.#windowFailures++;
    if (this.isEjected(nowMs) || !this.#isTooMuch()) return false;
    if (nowMs - this.#ejectedUntilMs > forgivenAfterMs) this.#ejections = 0;
    this.#ejections++;
    this.#ejectedUntilMs = nowMs + ejectionMs(this.#ejections);
    this.#consecutiveFailures = 0;
    this.#windowEndsMs = 0;
    return true;
  }

  isEjected(nowMs: number): boolean {
    return nowMs < this.#ejectedUntilMs;
  }

  /** On the same clock as `nowMs`; in the past, or minus infinity, for a node that is not ejected. */
  ejectedUntilMs(): number {
    return this.#ejectedUntilMs;
  }

  #isTooMuch(): boolean {
    if (this.#consecutiveFailures >= consecutiveFailuresMax) return true;
    return this.#windowRequests >= windowRequestsMin && this.#windowFailures >= this.#windowRequests * windowFailureShareMax;
  }
}
