/** Time as a dependency, so that tests turn it by hand. */
export interface Clock {
  /** Wall clock, milliseconds since 1970: for records that people read. It may jump. */
  nowMs(): number;
  /** Monotonic, milliseconds from an arbitrary start: for every deadline. It goes on while the process is stopped. */
  monotonicMs(): number;
  /** Calls back once; returns what cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
