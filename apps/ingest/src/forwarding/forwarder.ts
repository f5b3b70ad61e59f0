import type { Clock } from '@binnacle/cluster-state/clock';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, deflate } from 'node:zlib';
import type { Logger } from 'pino';
import { Agent } from 'undici';
import type { MetricEvent } from '../messages/metric-event.js';
import type { Spool, SpoolPart } from '../spool/spool.js';
import { SpoolDrain } from '../spool/spool-drain.js';
import { encodeEvent } from './raw-message-writer.js';

export interface ForwarderOptions {
  readonly spool: Spool;
  /** `http://host:port`, of a gostatsd or a Binnacle. */
  readonly url: string;
  /** Sent as a bearer token where it is not empty. */
  readonly apiKey: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of the spool: what is sent on. */
export const forwardLane = 'forward';

const sendTimeoutMs = 30_000;
/** Fewer bytes on the disk and on the wire, and what gostatsd's forwarder does itself. */
const deflateLevel = constants.Z_BEST_COMPRESSION;

/** They say that the message is bad, or too long, and not that the receiver is not well. */
const finalStatuses: ReadonlySet<number> = new Set([400, 413]);

const deflated = promisify(deflate);

/** The parts of its lane for what was flushed. Each is named by what its retries are recognised by, where the receiver knows `Idempotency-Key`. */
export async function* forwardedParts(messages: readonly Buffer[], events: readonly MetricEvent[]): AsyncGenerator<SpoolPart> {
  for (const message of messages) yield partOf('raw', message);
  for (const event of events) yield partOf('event', encodeEvent(event));
}

async function partOf(kind: 'raw' | 'event', message: Buffer): Promise<SpoolPart> {
  return { lane: forwardLane, name: `${kind}.${randomUUID()}`, content: await deflated(message, { level: deflateLevel }) };
}

/** Sends what is in its lane on, as gostatsd's forwarder does: any 2xx is success, what is refused for what it is goes, and whatever else fails is sent again. */
export class Forwarder {
  readonly #agent = new Agent({ connections: 1, connect: { timeout: 5_000 }, headersTimeout: sendTimeoutMs, bodyTimeout: sendTimeoutMs });
  readonly drain: SpoolDrain;
  messagesSent = 0;
  /** Messages that the receiver cannot read: they would be refused again, and hold up all that comes behind them. */
  messagesRefused = 0;

  constructor(private readonly options: ForwarderOptions) {
    const { spool, clock, log, url } = options;
    this.drain = new SpoolDrain({ spool, lane: forwardLane, clock, log, where: url, send: (part, signal) => this.#send(part, signal) });
  }

  async stop(): Promise<void> {
    await this.drain.stop();
    await this.#agent.destroy();
  }

  async #send({ name: key, content }: SpoolPart, stopped: AbortSignal): Promise<void> {
    const { url, apiKey } = this.options;
    const headers = {
      'content-type': 'application/x-protobuf',
      'content-encoding': 'deflate',
      'user-agent': 'binnacle (http forwarder)',
      'idempotency-key': key,
      ...(apiKey !== '' && { authorization: `Bearer ${apiKey}` }),
    };
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(sendTimeoutMs)]);
    const answer = await this.#agent.request({ origin: new URL(url).origin, path: `/v2/${key.startsWith('raw.') ? 'raw' : 'event'}`, method: 'POST', headers, body: content, signal });
    await answer.body.dump();
    if (answer.statusCode >= 200 && answer.statusCode <= 299) this.messagesSent += 1;
    else if (finalStatuses.has(answer.statusCode)) {
      this.messagesRefused += 1;
      this.options.log.error({ status: answer.statusCode }, `${url} cannot take a message that is sent on; it is dropped`);
    } else throw new Error(`${url} answered ${answer.statusCode}`);
  }
}
