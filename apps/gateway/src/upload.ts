import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/** A client that is asked for more of its body and sends nothing for this long is given up. */
export const uploadIdleMsMax = 30_000;

/**
 * The body of a client's request on its way to a node: counted, so that one without a length cannot go on for ever, and apart from the
 * request, so that a node that goes away ends this stream and not the connection that the error has to be told on.
 */
export class Upload extends Readable {
  #bytes = 0;
  #attached = false;
  #cancelIdleCheck: () => void = () => {};

  constructor(
    private readonly request: IncomingMessage,
    private readonly clock: Clock,
    private readonly bytesMax: number,
    /** What the client said it would send; undefined when it sends chunks. */
    readonly declaredBytes: number | undefined,
  ) {
    super();
  }

  /** Whether any of it may have been read: such a request cannot be sent a second time. */
  isUntouched(): boolean {
    return !this.#attached;
  }

  override _read(): void {
    if (!this.#attached) {
      this.#attached = true;
      this.request.on('data', this.#onData).once('end', this.#onEnd).once('close', this.#onClose);
      this.#checkIdle();
    }
    this.request.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#cancelIdleCheck();
    this.request.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    callback(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes += chunk.length;
    if (this.#bytes > this.bytesMax) {
      this.request.pause();
      this.destroy(bodyTooLarge(this.bytesMax));
    } else if (!this.push(chunk)) {
      this.request.pause();
    }
  };

  readonly #onEnd = (): void => {
    this.#cancelIdleCheck();
    this.push(null);
  };

  /** The connection broke before the body ended. */
  readonly #onClose = (): void => {
    if (!this.request.complete) this.destroy(new BinnacleError('BAD_REQUEST', 'The connection broke before the body ended.'));
  };

  /** One timer a period instead of one a chunk. A request that stands still because the node takes nothing is the node's affair. */
  #checkIdle(): void {
    const bytesBefore = this.#bytes;
    this.#cancelIdleCheck = this.clock.after(uploadIdleMsMax, () => {
      if (this.#bytes === bytesBefore && !this.request.isPaused()) {
        this.destroy(new BinnacleError('REQUEST_TIMEOUT', `The body stood still for ${uploadIdleMsMax / 1_000} s.`));
      } else {
        this.#checkIdle();
      }
    });
  }
}

export function bodyTooLarge(bytesMax: number): BinnacleError {
  return new BinnacleError('BODY_TOO_LARGE', `The body of this request may have at most ${bytesMax} bytes.`);
}

/** Whether the client sends a body, and how long it says it is. The parser has refused what says two different things. */
export function declaredBody(request: IncomingMessage): { readonly hasBody: boolean; readonly bytes: number | undefined } {
  const length = request.headers['content-length'];
  if (length !== undefined) return { hasBody: length !== '0', bytes: Number(length) };
  return { hasBody: request.headers['transfer-encoding'] !== undefined, bytes: undefined };
}
