import type { Clock } from '@binnacle/cluster-state/clock';
import { readMachine, type CpuTimes, type MachineReading } from './machine.js';

/** Long enough for CPU shares to mean something, short enough for a person who watches. */
const intervalMs = 2_000;

/** Reads the machine in the background, so that answering a request costs nothing however often it is asked. */
export class MachineSampler {
  #latest: MachineReading | undefined;
  #activePercent: ReadonlyMap<number, number> = new Map();
  #failure: string | undefined;
  #cancel = (): void => {};
  #stopped = false;

  constructor(
    private readonly clock: Clock,
    private readonly dataDir: string,
    private readonly read: (dataDir: string) => Promise<MachineReading> = readMachine,
  ) {}

  /** Resolves after the first reading, whose CPU shares are those since boot. */
  async start(): Promise<void> {
    await this.#sample();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  /** Undefined until the first reading succeeded; afterwards the newest that did. */
  latest(): MachineReading | undefined {
    return this.#latest;
  }

  /** Why the newest reading failed, or undefined. */
  failure(): string | undefined {
    return this.#failure;
  }

  /** Busy share of each core between the last two readings, in percent, by core. */
  activePercentByCore(): ReadonlyMap<number, number> {
    return this.#activePercent;
  }

  async #sample(): Promise<void> {
    try {
      const reading = await this.read(this.dataDir);
      this.#activePercent = activePercent(this.#latest?.cores ?? [], reading.cores);
      this.#latest = reading;
      this.#failure = undefined;
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
    }
    if (!this.#stopped) this.#cancel = this.clock.after(intervalMs, () => void this.#sample());
  }
}

/** Pure. A core that was not there before counts since boot. */
export function activePercent(before: readonly CpuTimes[], after: readonly CpuTimes[]): Map<number, number> {
  return new Map(
    after.map(({ core, busy, total }) => {
      const earlier = before.find((each) => each.core === core);
      const totalDelta = total - (earlier?.total ?? 0);
      const busyDelta = busy - (earlier?.busy ?? 0);
      return [core, totalDelta <= 0 ? 0 : Math.min(100, Math.max(0, (100 * busyDelta) / totalDelta))];
    }),
  );
}
