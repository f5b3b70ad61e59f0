interface FakeTimer {
  readonly dueMs: number;
  readonly callback: () => void;
}

/** Timers fired by one `advance`; more means that a timer re-arms itself with a delay of 0. */
const timersPerAdvanceMax = 100_000;

/** Time that moves only when a test says so. Has the shape of `Clock` of cluster-state. */
export class FakeClock {
  #monotonicMs = 0;
  #wallMs: number;
  /** In order of insertion; the earliest due one goes first, of several due at once the oldest. */
  readonly #timers = new Set<FakeTimer>();

  constructor(startWallMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = startWallMs;
  }

  nowMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer: FakeTimer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that wait now: 0 shows that nothing was left behind. */
  timerCount(): number {
    return this.#timers.size;
  }

  /** Moves both clocks, fires the timers due on the way in their order, and lets promises settle before, between and after them. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    await settle();
    for (let fired = 0; ; fired++) {
      const timer = this.#nextDue(endMs);
      if (timer === undefined) break;
      if (fired === timersPerAdvanceMax) throw new Error(`more than ${timersPerAdvanceMax} timers in ${ms} ms of fake time`);
      this.#timers.delete(timer);
      this.#moveTo(timer.dueMs);
      timer.callback();
      await settle();
    }
    this.#moveTo(endMs);
    await settle();
  }

  /** Moves both clocks and fires nothing: what a process sees that was stopped for this long, before its timers get their turn. */
  freezeFor(ms: number): void {
    this.#moveTo(this.#monotonicMs + ms);
  }

  /** Somebody set the wall clock; the monotonic one does not notice. */
  stepWallClock(ms: number): void {
    this.#wallMs += ms;
  }

  #nextDue(endMs: number): FakeTimer | undefined {
    let next: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }

  #moveTo(monotonicMs: number): void {
    if (monotonicMs <= this.#monotonicMs) return;
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }
}

/** Two turns of the event loop: every promise that waits for no I/O has settled after them. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}
