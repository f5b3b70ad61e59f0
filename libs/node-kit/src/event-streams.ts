import type { ServerResponse } from 'node:http';
import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { FastifyReply } from 'fastify';
import type { EventLog, Happening, LoggedEvent, Replay } from './event-log.js';

export interface StreamLimits {
  /** Clients at a time; one more is answered 503. */
  readonly streamsMax: number;
  /** A client behind by more than this is cut off: it comes back with `Last-Event-ID`. Formula: events per replay x 300 bytes, at least. */
  readonly bufferedBytesMax: number;
  /** A comment goes out this often, so that proxies keep the connection and a client that has gone is noticed. */
  readonly heartbeatMs: number;
  /** What a client that missed events reads to know how things are. */
  readonly readAgain: string;
}

/** How long a client may take to read the last of its stream when the node stops. */
const endMs = 1_000;

/** The clients of a path that sends the events of a log as server-sent events. */
export class EventStreams<Change extends Happening> {
  readonly #open = new Map<ServerResponse, () => void>();
  #draining = false;

  constructor(
    private readonly log: EventLog<Change>,
    private readonly clock: Clock,
    private readonly limits: StreamLimits,
  ) {}

  count(): number {
    return this.#open.size;
  }

  /** Takes over the reply of a route, given the header `Last-Event-ID`. Throws when there is no room, while the route can still answer with the error. */
  answer(reply: FastifyReply, lastEventId: string | undefined): void {
    this.assertRoom();
    // From here on the answer is ours: Fastify would wait for a payload.
    reply.hijack();
    this.open(reply.raw, lastEventIdOf(lastEventId));
  }

  /** Throws before anything is sent when there is no room: then the caller can still answer with an error. */
  assertRoom(): void {
    if (this.#open.size >= this.limits.streamsMax) {
      throw new BinnacleError('OVERLOADED', `${this.limits.streamsMax} event streams are open, no more are allowed`, { retryAfterS: 10 });
    }
  }

  /**
   * Sends the head, what came after `lastEventId`, and from then on every event, until the client goes, is too slow, or the node stops.
   * A node that is stopping sends what it has and ends: an `EventSource` comes back after that, and gives up after an error.
   */
  open(response: ServerResponse, lastEventId: number | undefined): void {
    this.assertRoom();
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Nginx would collect events until a buffer is full.
      'x-accel-buffering': 'no',
    });
    response.on('error', () => undefined);
    response.write('retry: 1000\n\n');
    if (lastEventId !== undefined) response.write(replayText(this.log.since(lastEventId), this.limits.readAgain));
    if (this.#draining) response.end();
    else this.#follow(response);
  }

  #follow(response: ServerResponse): void {
    const send = (text: string): void => this.#send(response, text);
    const unsubscribe = this.log.onAppend((event) => send(eventText(event)));
    let cancelHeartbeat = (): void => {};
    const beat = (): void => {
      send(': heartbeat\n\n');
      if (this.#open.has(response)) cancelHeartbeat = this.clock.after(this.limits.heartbeatMs, beat);
    };
    const close = (): void => {
      this.#open.delete(response);
      unsubscribe();
      cancelHeartbeat();
    };
    this.#open.set(response, close);
    response.once('close', close);
    cancelHeartbeat = this.clock.after(this.limits.heartbeatMs, beat);
  }

  /** Ends every stream in order, so that clients come back to another node; one that does not read is cut off. */
  async drain(): Promise<void> {
    this.#draining = true;
    await Promise.all([...this.#open].map(([response, close]) => this.#end(response, close)));
  }

  #end(response: ServerResponse, close: () => void): Promise<void> {
    close();
    return new Promise((resolve) => {
      const cancel = this.clock.after(endMs, () => response.destroy());
      response.once('close', () => {
        cancel();
        resolve();
      });
      response.end();
    });
  }

  #send(response: ServerResponse, text: string): void {
    const close = this.#open.get(response);
    if (close === undefined || response.destroyed) return;
    response.write(text);
    if (response.writableLength <= this.limits.bufferedBytesMax) return;
    close();
    response.destroy();
  }
}

function replayText({ gap, events }: Replay<Happening>, readAgain: string): string {
  const note = { message: `events before these are not kept any more; read ${readAgain}` };
  return (gap ? `event: gap\ndata: ${JSON.stringify(note)}\n\n` : '') + events.map(eventText).join('');
}

function eventText({ id, atMs, change }: LoggedEvent<Happening>): string {
  const { type, ...data } = change;
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify({ at: new Date(atMs).toISOString(), ...data })}\n\n`;
}

/** The header `Last-Event-ID`; one that we never gave out counts as none, as the specification of server-sent events has it. */
export function lastEventIdOf(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,16}$/.test(header) ? Number(header) : undefined;
}
