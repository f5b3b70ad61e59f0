import type { Redis } from 'ioredis';
import type { Clock } from './clock.js';
import type { Unsubscribe } from './cluster-state.js';
import { Listeners } from './listeners.js';
import { reconnectDelayMs } from './redis-connection.js';

/** How often the connection is tried: a line that was cut without a word is noticed after this plus the timeout. */
const probeIntervalMs = 2_000;

interface Channel {
  readonly listeners: Listeners<string>;
  /** Called when messages may have been missed, or the channel is new. */
  readonly missed: Listeners<void>;
}

/**
 * The connection that listens. It runs connect → subscribe → tell everyone that something may have been missed → listen,
 * and from the start when the connection ends; without anything to listen to it stays closed.
 */
export class RedisSubscriptions {
  readonly #newSubscriber: () => Redis | undefined;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #channels = new Map<string, Channel>();
  #connection: Redis | undefined;
  #listening = false;
  #attempt = 0;
  #cancelTimer: () => void = () => {};
  #closed = false;

  constructor(newSubscriber: () => Redis | undefined, clock: Clock, timeoutMs: number) {
    this.#newSubscriber = newSubscriber;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** `onMissed` is called once the channel is subscribed, and after every gap. */
  add(name: string, onMessage: (payload: string) => void, onMissed: () => void): Unsubscribe {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { listeners: new Listeners(), missed: new Listeners() };
      this.#channels.set(name, channel);
      this.#subscribeNew(name);
    } else if (this.#listening) {
      queueMicrotask(onMissed);
    }
    const { listeners, missed } = channel;
    const removals = [listeners.add(onMessage), missed.add(onMissed)];
    return () => {
      for (const remove of removals) remove();
      if (listeners.size > 0 || this.#channels.get(name)?.listeners !== listeners) return;
      this.#channels.delete(name);
      if (this.#listening) this.#connection?.unsubscribe(name).catch(() => this.#connection?.disconnect());
    };
  }

  /** The store answers again: there is no point in waiting out the delay. */
  wake(): void {
    if (this.#connection === undefined && this.#channels.size > 0) this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#channels.clear();
    this.#connection?.disconnect();
  }

  #subscribeNew(name: string): void {
    if (this.#connection === undefined) return this.#connect();
    if (this.#listening) void this.#subscribe(this.#connection, [name]);
    // Else the connection is being made, and subscribes to everything when it is there.
  }

  #connect(): void {
    this.#cancelTimer();
    if (this.#closed) return;
    const connection = this.#newSubscriber();
    if (connection === undefined) return this.#connectLater();
    this.#connection = connection;
    connection.on('error', () => {}); // Reported by the connection for commands; here the end is what counts.
    connection.on('message', (name: string, payload: string) => this.#channels.get(name)?.listeners.notify(payload));
    connection.once('end', () => {
      if (this.#connection !== connection) return;
      this.#connection = undefined;
      this.#listening = false;
      this.#connectLater();
    });
    this.#cancelTimer = this.#clock.after(this.#timeoutMs, () => connection.disconnect());
    connection.connect().then(
      () => this.#listen(connection),
      () => connection.disconnect(),
    );
  }

  #connectLater(): void {
    this.#cancelTimer();
    if (this.#closed) return;
    this.#cancelTimer = this.#clock.after(reconnectDelayMs(this.#attempt++), () => this.#connect());
  }

  async #listen(connection: Redis): Promise<void> {
    this.#listening = true;
    const subscribed = await this.#subscribe(connection, [...this.#channels.keys()]);
    if (!subscribed || connection !== this.#connection) return;
    this.#attempt = 0;
    this.#probeLater(connection);
  }

  async #subscribe(connection: Redis, names: string[]): Promise<boolean> {
    try {
      if (names.length > 0) await this.#inTime(connection, connection.subscribe(...names));
    } catch {
      connection.disconnect();
      return false;
    }
    if (connection !== this.#connection) return false;
    for (const name of names) this.#channels.get(name)?.missed.notify();
    return true;
  }

  #probeLater(connection: Redis): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(probeIntervalMs, () => {
      this.#inTime(connection, connection.ping()).then(
        () => connection === this.#connection && this.#probeLater(connection),
        () => connection.disconnect(),
      );
    });
  }

  /** An answer that does not come ends the connection, which rejects what waits for it. */
  async #inTime<T>(connection: Redis, answer: Promise<T>): Promise<T> {
    const cancel = this.#clock.after(this.#timeoutMs, () => connection.disconnect());
    try {
      return await answer;
    } finally {
      cancel();
    }
  }
}
