import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { ResourceError } from '@binnacle/cluster-state/cluster-state';
import type { HealthConfig } from './config.js';
import type { MachineSampler } from './machine-sampler.js';

const windowMs = 10_000;
const resolutionMs = 20;
const nsPerMs = 1e6;

type DelayHistogram = ReturnType<typeof monitorEventLoopDelay>;

/** What this node is short of: time on its event loop, disk, memory. */
export class ResourceMonitor {
  /**
   * Two histograms half a window apart. The older one is read and covers the last 5 to 10 s; a single one, cleared every 10 s,
   * would know nothing just after it was cleared.
   */
  #older: DelayHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  #newer: DelayHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  #cancel = (): void => {};

  constructor(
    private readonly clock: Clock,
    private readonly machine: MachineSampler,
    private readonly limits: HealthConfig,
  ) {}

  start(): void {
    this.#older.enable();
    this.#newer.enable();
    this.#cancel = this.clock.after(windowMs / 2, () => this.#rotate());
  }

  stop(): void {
    this.#cancel();
    this.#older.disable();
    this.#newer.disable();
  }

  #rotate(): void {
    const done = this.#older;
    done.reset();
    this.#older = this.#newer;
    this.#newer = done;
    this.#cancel = this.clock.after(windowMs / 2, () => this.#rotate());
  }

  /** 99th percentile of the last seconds. The histogram measures from tick to tick, so its own interval is taken off. */
  eventLoopDelayMs(): number {
    if (this.#older.count === 0) return 0;
    return Math.max(0, Math.round((this.#older.percentile(99) / nsPerMs - resolutionMs) * 10) / 10);
  }

  /** Of the disk under the data folder; undefined before the first reading. */
  diskFreePercent(): number | undefined {
    const disk = this.machine.latest()?.disk;
    return disk === undefined || disk.totalBytes === 0 ? undefined : (100 * disk.availableBytes) / disk.totalBytes;
  }

  /** Of the machine or of the control group's limit, whichever is shorter. */
  memoryFreePercent(): number | undefined {
    const reading = this.machine.latest();
    if (reading === undefined || reading.memory.totalBytes === 0) return undefined;
    const ofMachine = (100 * reading.memory.availableBytes) / reading.memory.totalBytes;
    const limit = reading.memoryLimit;
    return limit === undefined ? ofMachine : Math.min(ofMachine, (100 * limit.availableBytes) / limit.limitBytes);
  }

  /** As `/health` and the registry name it. Disk first: it does not heal by itself. */
  resourceError(): ResourceError | undefined {
    const disk = this.diskFreePercent();
    if (disk !== undefined && disk < this.limits.diskFreePercentMin) return 'OUT_OF_DISK';
    const memory = this.memoryFreePercent();
    return memory !== undefined && memory < this.limits.memoryFreePercentMin ? 'OUT_OF_MEMORY' : undefined;
  }
}
