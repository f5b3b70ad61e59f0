import type { Clock } from '@binnacle/cluster-state/clock';
import { connect, type Socket } from 'node:net';
import { AnswerParser, type AnswerEvents } from './answer-parser.js';
import { Upload } from './upload.js';

/** Nodes are in the same network: one that does not take a connection in this time is not there. */
export const connectTimeoutMs = 2_000;
/** A body of an answer that stands still for this long is given up. Server-sent events send a comment more often than that. */
export const bodyIdleMsMax = 120_000;
/** Of an idle connection, where the node does not say how long it keeps it. */
const idleMsMaxDefault = 4_000;
/** The node must not close a connection just when it is used again: it is given up so long before. */
const idleMarginMs = 2_000;

/** The connection could not be made, or broke. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
}

export interface NodeRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** Names and values in turn; a length among them belongs to the body. */
  readonly headers: readonly string[];
  readonly body: Upload | Buffer | undefined;
}

/** What is told of one request. After `onEnd` or `onError`, one of which always comes, nothing more. */
export interface AnswerHandler {
  /** The connection is there; the request is written now. */
  onRequestStart(): void;
  /** The body has been written to its end. */
  onRequestSent(): void;
  onAnswerBegin(): void;
  onHead(status: number, headers: string[]): void;
  /** The chunk is valid during the call only. */
  onBody(chunk: Buffer): void;
  onEnd(): void;
  onError(error: Error): void;
}

/** Who keeps the connection. */
export interface ConnectionOwner {
  /** It can take another request. */
  onIdle(): void;
  /** It never will again. */
  onClose(): void;
}

/**
 * All connections read into this one buffer. libuv reads when a socket is readable and calls back at once, so what is in it is used, or
 * copied, before the next read of any socket.
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/** One connection to a node: one request at a time, as many after each other as both sides like. */
export class NodeConnection implements AnswerEvents {
  readonly #socket: Socket;
  readonly #parser = new AnswerParser(this);
  #request: NodeRequest | undefined;
  #handler: AnswerHandler | undefined;
  #isWriting = false;
  #isPaused = false;
  #error: Error | undefined;
  #idleUntilMs = 0;
  #cancelConnectTimeout: () => void = () => {};

  constructor(
    address: { readonly host: string; readonly port: number },
    private readonly clock: Clock,
    private readonly owner: ConnectionOwner,
  ) {
    const onread = { buffer: readBuffer, callback: (bytes: number) => this.#onRead(bytes) };
    this.#socket = connect({ ...address, noDelay: true, onread });
    this.#socket.on('connect', () => this.#onConnect());
    this.#socket.on('error', (error) => (this.#error ??= new ConnectionError(error.message, { cause: error })));
    this.#socket.on('end', () => this.#parse(() => this.#parser.finish()));
    this.#socket.on('close', () => this.#onSocketClose());
    this.#socket.setTimeout(bodyIdleMsMax, () => this.#onStandstill());
    this.#cancelConnectTimeout = clock.after(connectTimeoutMs, () =>
      this.#fail(new ConnectionError(`no connection within ${connectTimeoutMs} ms`)),
    );
  }

  /** Only while it is idle, or new. */
  send(request: NodeRequest, handler: AnswerHandler): void {
    this.#request = request;
    this.#handler = handler;
    if (!this.#socket.connecting) this.#write(request, handler);
  }

  /** Whether it may still be used: the node might close it any moment now. */
  isFresh(): boolean {
    return this.clock.monotonicMs() < this.#idleUntilMs && !this.#socket.destroyed;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket.resume();
    // Only from here on can the node be blamed for a standstill.
    this.#socket.setTimeout(bodyIdleMsMax);
  }

  /** Ends the connection. Its request, if there is one, ends with an error. */
  destroy(): void {
    this.#socket.destroy();
  }

  #onConnect(): void {
    this.#cancelConnectTimeout();
    if (this.#handler !== undefined && this.#request !== undefined) this.#write(this.#request, this.#handler);
  }

  #write({ method, url, headers, body }: NodeRequest, handler: AnswerHandler): void {
    handler.onRequestStart();
    if (this.#socket.destroyed) return;
    this.#parser.expect();
    let head = `${method} ${url} HTTP/1.1\r\n`;
    for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
    if (body === undefined) {
      // Where a body would mean something, there not being one has to be said (RFC 9110, 8.6).
      const takesBody = method === 'POST' || method === 'PUT' || method === 'PATCH';
      this.#socket.write(takesBody ? `${head}content-length: 0\r\n\r\n` : `${head}\r\n`, 'latin1');
    } else if (body instanceof Upload) {
      this.#writeUpload(head, body, handler);
    } else {
      this.#socket.write(`${head}content-length: ${body.length}\r\n\r\n`, 'latin1');
      this.#socket.write(body);
    }
  }

  #writeUpload(head: string, upload: Upload, handler: AnswerHandler): void {
    const socket = this.#socket;
    const isChunked = upload.declaredBytes === undefined;
    this.#isWriting = true;
    socket.write(isChunked ? `${head}transfer-encoding: chunked\r\n\r\n` : `${head}\r\n`, 'latin1');
    const goOn = (): void => void upload.resume();
    upload.on('data', (chunk: Buffer) => {
      socket.cork();
      if (isChunked) socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
      let isTaken = socket.write(chunk);
      if (isChunked) isTaken = socket.write('\r\n', 'latin1');
      socket.uncork();
      if (!isTaken) {
        upload.pause();
        socket.once('drain', goOn);
      }
    });
    upload.once('end', () => {
      this.#isWriting = false;
      if (isChunked) socket.write('0\r\n\r\n', 'latin1');
      if (this.#handler === handler) handler.onRequestSent();
    });
    upload.once('error', (error) => this.#handler === handler && this.#fail(error));
    upload.once('close', () => socket.off('drain', goOn));
  }

  #onRead(bytes: number): boolean {
    this.#parse(() => this.#parser.write(readBuffer.subarray(0, bytes)));
    return !this.#isPaused;
  }

  #parse(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  onBegin(): void {
    this.#handler?.onAnswerBegin();
  }

  onHead(status: number, headers: string[]): void {
    this.#handler?.onHead(status, headers);
  }

  onBody(chunk: Buffer): void {
    this.#handler?.onBody(chunk);
  }

  onEnd(): void {
    const handler = this.#handler;
    const isReusable = this.#parser.keepsAlive && !this.#isWriting && !this.#socket.destroyed;
    this.#finishRequest();
    if (isReusable) this.#becomeIdle();
    else this.#socket.destroy();
    handler?.onEnd();
  }

  #becomeIdle(): void {
    const hintS = this.#parser.keepAliveHintS;
    this.#idleUntilMs = this.clock.monotonicMs() + (hintS === undefined ? idleMsMaxDefault : hintS * 1_000 - idleMarginMs);
    if (this.#isPaused) this.resume();
    this.owner.onIdle();
  }

  #onSocketClose(): void {
    this.#cancelConnectTimeout();
    this.owner.onClose();
    const handler = this.#handler;
    this.#finishRequest();
    handler?.onError(this.#error ?? new ConnectionError('the node closed the connection'));
  }

  #finishRequest(): void {
    const body = this.#request?.body;
    this.#handler = undefined;
    this.#request = undefined;
    if (body instanceof Upload) body.destroy();
  }

  #onStandstill(): void {
    if (this.#handler === undefined) return void this.#socket.destroy();
    // An answer that has not begun is for the route's deadline, one that its client does not take for the listener's.
    if (!this.#parser.isInBody || this.#isPaused) return;
    this.#fail(new ConnectionError(`the answer stood still for ${bodyIdleMsMax / 1_000} s`));
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }
}
