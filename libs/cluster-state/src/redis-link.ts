import type { Cluster, Redis } from 'ioredis';
import type { Clock } from './clock.js';
import { ClusterStateUnavailable, type Availability, type Unsubscribe } from './cluster-state.js';
import { pendingOperationsMax } from './limits.js';
import { Listeners } from './listeners.js';

interface Operation {
  readonly sentAtMs: number;
  readonly reject: (error: Error) => void;
}

/** With no answer for this long a PING asks whether the store is there, so that an idle node notices too. */
const probeIntervalMs = 1_000;

/**
 * The connection for commands: gives every operation its deadline, knows whether the store answers, and replaces a connection that hangs.
 * Errors carry the server's words and never a command, because ioredis hangs the arguments (documents, keys) on its own errors.
 */
export class RedisLink {
  readonly #client: Redis | Cluster;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** In the order they were sent, so the oldest is the first. */
  readonly #pending = new Set<Operation>();
  readonly #listeners = new Listeners<Availability>();
  #availability: Availability;
  #lastAnswerMs = -Infinity;
  /** Since when the client has been without a ready connection. */
  #notReadySinceMs: number;
  #lastError = '';
  #cancelDeadline: (() => void) | undefined;
  #cancelProbe: () => void = () => {};
  /** Told to end and not ended yet. */
  #dropping = false;
  #gathering = false;
  #closed = false;

  constructor(client: Redis | Cluster, clock: Clock, timeoutMs: number) {
    this.#client = client;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#availability = { available: false, sinceMs: clock.nowMs(), reason: 'not connected yet' };
    this.#notReadySinceMs = clock.monotonicMs();
    client.on('error', (error: Error) => this.#noteError(error));
    client.on('node error', (error: Error) => this.#noteError(error));
    client.on('close', () => this.#lost());
    client.on('ready', () => this.#probe());
  }

  availability(): Availability {
    return this.#availability;
  }

  onAvailabilityChange(listener: (availability: Availability) => void): Unsubscribe {
    return this.#listeners.add(listener);
  }

  pendingOperations(): number {
    return this.#pending.size;
  }

  /** Resolves when the store answers, at the latest after the timeout: it may be away, then it is connected to as soon as it comes. */
  async open(): Promise<void> {
    this.#client.connect().catch((error: Error) => this.#noteError(error));
    this.#probeLater();
    if (this.#availability.available) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancelTimer();
        cancelListener();
        resolve();
      };
      const cancelTimer = this.#clock.after(this.#timeoutMs, done);
      const cancelListener = this.#listeners.add(done);
    });
  }

  /** Sends an operation. Rejects with `ClusterStateUnavailable` when it fails or is not answered in time. */
  run<T>(send: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(new ClusterStateUnavailable('the cluster state is closed'));
      if (this.#pending.size >= pendingOperationsMax) {
        return reject(new ClusterStateUnavailable(`${pendingOperationsMax} operations wait for Redis already`));
      }
      const operation: Operation = { sentAtMs: this.#clock.monotonicMs(), reject };
      this.#pending.add(operation);
      if (this.#cancelDeadline === undefined) this.#watchDeadline(operation);
      this.#gatherWrites();
      send().then(
        (answer) => {
          this.#lastAnswerMs = this.#clock.monotonicMs();
          this.#pending.delete(operation);
          if (!this.#availability.available) this.#setAvailability(true, '');
          resolve(answer);
        },
        (error: Error) => {
          this.#pending.delete(operation);
          reject(this.#unavailable(error));
        },
      );
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancelDeadline?.();
    this.#cancelProbe();
    this.#client.disconnect();
    for (const operation of this.#pending) operation.reject(new ClusterStateUnavailable('the cluster state was closed'));
    this.#pending.clear();
  }

  /** The operations of one turn of the event loop leave in one write: measured, a system call for each takes a fifth of the whole cost. */
  #gatherWrites(): void {
    const stream = 'stream' in this.#client ? this.#client.stream : undefined;
    if (this.#gathering || stream === undefined) return;
    this.#gathering = true;
    stream.cork();
    process.nextTick(() => {
      this.#gathering = false;
      stream.uncork();
    });
  }

  /** One timer for all operations: they have the same timeout, so the oldest is always the next one due. */
  #watchDeadline(oldest: Operation): void {
    const delayMs = oldest.sentAtMs + this.#timeoutMs - this.#clock.monotonicMs();
    this.#cancelDeadline = this.#clock.after(Math.max(1, delayMs), () => {
      this.#cancelDeadline = undefined;
      this.#expire();
      const [next] = this.#pending;
      if (next !== undefined) this.#watchDeadline(next);
    });
  }

  #expire(): void {
    const nowMs = this.#clock.monotonicMs();
    const reason = `no answer within ${this.#timeoutMs} ms`;
    let silent = false;
    for (const operation of this.#pending) {
      if (operation.sentAtMs + this.#timeoutMs > nowMs) break;
      this.#pending.delete(operation);
      operation.reject(new ClusterStateUnavailable(`Redis: ${reason}`));
      silent ||= this.#lastAnswerMs < operation.sentAtMs;
    }
    // Nothing at all came since it was sent: the server hangs or the line is dead, and waiting on it longer helps nobody.
    if (!silent) return;
    this.#setAvailability(false, reason);
    this.#dropConnection();
  }

  #dropConnection(): void {
    if (this.#dropping || (this.#client.status !== 'ready' && this.#client.status !== 'connect')) return;
    this.#dropping = true;
    this.#client.disconnect(true);
  }

  /** An answer with an error shows a store that cannot serve (loading, read-only, out of memory, wrong password): it counts as away. */
  #unavailable(error: Error): ClusterStateUnavailable {
    const reason = this.#client.status === 'ready' ? error.message : this.#lastError || error.message;
    this.#setAvailability(false, reason);
    return new ClusterStateUnavailable(`Redis: ${reason}`);
  }

  #noteError(error: Error): void {
    const inner = (error as { lastNodeError?: Error }).lastNodeError;
    this.#lastError = (inner ?? error).message || (error as NodeJS.ErrnoException).code || error.name;
    if (this.#client.status !== 'ready' && !this.#closed) this.#setAvailability(false, this.#lastError);
  }

  #lost(): void {
    this.#dropping = false;
    this.#notReadySinceMs = this.#clock.monotonicMs();
    if (!this.#closed) this.#setAvailability(false, this.#lastError || 'the connection was closed');
  }

  #setAvailability(available: boolean, reason: string): void {
    if (available) this.#lastError = '';
    if (this.#availability.available === available) {
      if (!available) this.#availability = { ...this.#availability, reason };
      return;
    }
    this.#availability = { available, sinceMs: this.#clock.nowMs(), reason };
    this.#listeners.notify(this.#availability);
  }

  #probe(): void {
    if (this.#closed) return;
    // Its failure has been noted by then; a probe has no caller to tell.
    this.run(() => this.#client.ping()).catch(() => {});
  }

  #probeLater(): void {
    this.#cancelProbe = this.#clock.after(probeIntervalMs, () => {
      const nowMs = this.#clock.monotonicMs();
      if (this.#client.status === 'ready') {
        if (nowMs - this.#lastAnswerMs >= probeIntervalMs && this.#pending.size === 0) this.#probe();
        this.#notReadySinceMs = nowMs;
      } else if (nowMs - this.#notReadySinceMs > this.#timeoutMs) {
        // A server may accept a connection and then never finish the greeting.
        this.#notReadySinceMs = nowMs;
        this.#dropConnection();
      }
      this.#probeLater();
    });
  }
}
