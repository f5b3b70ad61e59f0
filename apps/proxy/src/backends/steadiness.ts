/** Failures older than this are forgotten. */
const memoryMs = 600_000;
const probationMsMax = 300_000;
const probationMs = 10_000;
const failuresMax = 16;

/**
 * Whether a server that is up now can be expected to stay so. One failure says nothing: it was restarted. From the second within 10 minutes on it
 * has to stay up for 20, 40, 80 s ... at most 5 minutes before sessions are moved there; otherwise every flap would move them twice.
 */
export class Steadiness {
  #failuresMs: number[] = [];
  #upSinceMs = -Infinity;

  failed(nowMs: number): void {
    this.#failuresMs = [...this.#failuresMs.filter((atMs) => nowMs - atMs < memoryMs), nowMs].slice(-failuresMax);
  }

  recovered(nowMs: number): void {
    this.#upSinceMs = nowMs;
  }

  isSteady(nowMs: number): boolean {
    const failures = this.#failuresMs.filter((atMs) => nowMs - atMs < memoryMs).length;
    if (failures < 2) return true;
    return nowMs - this.#upSinceMs >= Math.min(probationMs * 2 ** (failures - 1), probationMsMax);
  }
}
