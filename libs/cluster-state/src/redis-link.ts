import type { Cluster, Redis } from 'ioredis';
import type { Clock } from './clock.js';
import { ClusterStateUnavailable, type Availability, type Unsubscribe } from './cluster-state.js';
import { pendingOperationsMax } from './limits.js';
import { Listeners } from './listeners.js';
import { closedAtOnce, isAboutTheClient, isReset, noConnection, noReply, redisReason, type RedisName } from './redis-reason.js';

interface Operation {
  readonly sentAtMs: number;
  readonly reject: (error: Error) => void;
}

/** With no answer for this long a PING asks whether the store is there, so that an idle node notices too. */
const probeIntervalMs = 1_000;
/**
 * A server that refuses (out of memory, read-only) may answer the next read. It counts as away this long all the same: whoever hears
 * that it is back asks at once, is refused at once, and must not turn that into a loop.
 */
const refusalMs = 1_000;

/**
 * The connection for commands: gives every operation its deadline, knows whether the store answers, and replaces a connection that hangs.
 * Errors carry the server's words and never a command, because ioredis hangs the arguments (documents, keys) on its own errors.
 */
export class RedisLink {
  readonly #client: Redis | Cluster;
  readonly #name: RedisName;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** In the order they were sent, so the oldest is the first. */
  readonly #pending = new Set<Operation>();
  readonly #listeners = new Listeners<Availability>();
  #availability: Availability;
  #lastAnswerMs = -Infinity;
  /** Since when the client has been without a ready connection. */
  #notReadySinceMs: number;
  /** Why there is no connection, as far as is known. */
  #lastReason = '';
  #refusedUntilMs = -Infinity;
  /** Of the connection there is, or was last: whether it came about, and whether the server has greeted. */
  #progress: 'connecting' | 'connected' | 'ready' = 'connecting';
  #cancelDeadline: (() => void) | undefined;
  #cancelProbe: () => void = () => {};
  /** Told to end and not ended yet. */
  #dropping = false;
  #gathering = false;
  #closed = false;

  constructor(client: Redis | Cluster, name: RedisName, clock: Clock, timeoutMs: number) {
    this.#client = client;
    this.#name = name;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#availability = { available: false, sinceMs: clock.nowMs(), reason: `${name.text} is not connected yet` };
    this.#notReadySinceMs = clock.monotonicMs();
    client.on('error', (error: Error) => this.#noteError(error));
    client.on('node error', (error: Error) => this.#noteError(error));
    client.on('close', () => this.#lost());
    client.on('connecting', () => (this.#progress = 'connecting'));
    client.on('connect', () => (this.#progress = 'connected'));
    client.on('ready', () => {
      this.#progress = 'ready';
      this.#refusedUntilMs = -Infinity;
      this.#probe();
    });
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
      const cancelTimer = this.#clock.after(this.#timeoutMs, () => {
        // The client's own deadline comes a moment later, and whoever opens wants to know now.
        if (this.#lastReason === '') this.#noteReason(this.#whyNotReady());
        done();
      });
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
          if (!this.#availability.available && this.#lastAnswerMs >= this.#refusedUntilMs) this.#setAvailability(true, '');
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
    const reason = noReply(this.#name, this.#timeoutMs);
    let silent = false;
    for (const operation of this.#pending) {
      if (operation.sentAtMs + this.#timeoutMs > nowMs) break;
      this.#pending.delete(operation);
      operation.reject(new ClusterStateUnavailable(reason));
      silent ||= this.#lastAnswerMs < operation.sentAtMs;
    }
    // Nothing at all came since it was sent: the server hangs or the line is dead, and waiting on it longer helps nobody.
    if (!silent) return;
    this.#lastReason = reason;
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
    const isReady = this.#client.status === 'ready';
    const reason = (isReady ? '' : this.#lastReason) || redisReason(error, this.#name, this.#timeoutMs);
    if (isReady && this.#availability.available && error.name === 'ReplyError') this.#refusedUntilMs = this.#clock.monotonicMs() + refusalMs;
    this.#setAvailability(false, reason);
    return new ClusterStateUnavailable(reason);
  }

  #noteError(error: Error): void {
    const inner = (error as { lastNodeError?: Error }).lastNodeError ?? error;
    // What ends the connection tells less than what went before.
    if (this.#lastReason !== '' && isAboutTheClient(inner)) return;
    this.#noteReason(this.#progress === 'connected' && isReset(inner) ? closedAtOnce(this.#name) : redisReason(inner, this.#name, this.#timeoutMs));
  }

  #noteReason(reason: string): void {
    this.#lastReason = reason;
    if (this.#client.status !== 'ready' && !this.#closed) this.#setAvailability(false, reason);
  }

  #whyNotReady(): string {
    return this.#progress === 'connecting' ? noConnection(this.#name, this.#timeoutMs) : noReply(this.#name, this.#timeoutMs);
  }

  #lost(): void {
    this.#dropping = false;
    this.#notReadySinceMs = this.#clock.monotonicMs();
    if (this.#closed) return;
    if (this.#lastReason === '') this.#lastReason = this.#progress === 'connected' ? closedAtOnce(this.#name) : `${this.#name.text} is not connected`;
    this.#setAvailability(false, this.#lastReason);
  }

  #setAvailability(available: boolean, reason: string): void {
    if (available) this.#lastReason = '';
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
        if (this.#client.status === 'connect') this.#noteReason(noReply(this.#name, this.#timeoutMs));
        this.#dropConnection();
      }
      this.#probeLater();
    });
  }
}
