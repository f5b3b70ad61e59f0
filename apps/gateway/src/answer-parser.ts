/** What a node sent is no HTTP/1.1 answer, or one that could be read in two ways. */
export class BadAnswer extends Error {
  override readonly name = 'BadAnswer';
}

export interface AnswerEvents {
  /** The first byte has come. */
  onBegin(): void;
  /** Names are in lower case, names and values in turn. Interim answers (1xx) are not told. */
  onHead(status: number, headers: string[]): void;
  /** The chunk is part of what was given to `write`: valid during the call only. */
  onBody(chunk: Buffer): void;
  onEnd(): void;
}

/** Status line and headers. */
const headBytesMax = 32 * 1024;
/** A chunk's size with its extensions, and the trailer fields, which are dropped. */
const lineBytesMax = 4 * 1024;

type State = 'idle' | 'head' | 'length' | 'until-close' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer';

/**
 * Reads answers of one connection, strictly: nodes are ours, or services that mount the node kit, so there is nobody to be lenient to,
 * and whatever could be read in two ways is refused. It exists because undici's client costs 20 µs of CPU a request more, where a whole
 * request costs 30 (docs/performance.md).
 */
export class AnswerParser {
  #state: State = 'idle';
  /** What is left of the body, or of the chunk. */
  #remaining = 0;
  /** The beginning of a head or line whose end has not come yet. */
  #partial: Buffer | undefined;
  #keepAlive = false;
  #keepAliveHintS: number | undefined;

  constructor(private readonly events: AnswerEvents) {}

  /** Expects the answer to a request that is not HEAD. */
  expect(): void {
    this.#state = 'head';
    this.#partial = undefined;
  }

  /** Whether the connection may be used again; once the answer has ended. */
  get keepsAlive(): boolean {
    return this.#keepAlive;
  }

  /** Seconds for which the node keeps an idle connection, if it said so. */
  get keepAliveHintS(): number | undefined {
    return this.#keepAliveHintS;
  }

  /** The head has come and the body has not ended. */
  get isInBody(): boolean {
    return this.#state !== 'idle' && this.#state !== 'head';
  }

  /** Takes what came. Throws `BadAnswer`, and whatever the events throw. */
  write(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#state === 'idle') throw new BadAnswer('bytes after the end of the answer');
      rest = this.#step(rest);
    }
  }

  /** The node has closed the connection in good order: the end of a body that says no other. */
  finish(): void {
    if (this.#state === 'until-close') this.#end();
  }

  /** Takes the next piece off the front and returns what is left. */
  #step(bytes: Buffer): Buffer {
    switch (this.#state) {
      case 'head':
        return this.#head(bytes);
      case 'length':
      case 'chunk':
        return this.#counted(bytes);
      case 'until-close':
        this.events.onBody(bytes);
        return empty;
      case 'chunk-size':
      case 'chunk-end':
      case 'trailer':
        return this.#line(bytes);
      case 'idle':
        return bytes;
    }
  }

  #head(bytes: Buffer): Buffer {
    if (this.#partial === undefined) this.events.onBegin();
    const all = this.#partial === undefined ? bytes : Buffer.concat([this.#partial, bytes]);
    const end = all.indexOf('\r\n\r\n');
    if ((end < 0 ? all.length : end) > headBytesMax) throw new BadAnswer(`a head of more than ${headBytesMax} bytes`);
    if (end < 0) {
      this.#partial = Buffer.from(all);
      return empty;
    }
    this.#partial = undefined;
    this.#takeHead(all.toString('latin1', 0, end));
    return all.subarray(end + 4);
  }

  #takeHead(head: string): void {
    if (forbiddenPattern.test(head)) throw new BadAnswer('control characters in the head');
    const lines = head.split('\r\n');
    const statusLine = lines[0] as string;
    const status = Number(statusLine.slice(9, 12));
    if (!statusLinePattern.test(statusLine)) throw new BadAnswer('no status line');
    if (status < 200) {
      if (status === 101) throw new BadAnswer('a change of protocol that nobody asked for');
      return;
    }
    const headers: string[] = [];
    for (let index = 1; index < lines.length; index++) {
      const line = lines[index] as string;
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      if (colon < 1 || !namePattern.test(name)) throw new BadAnswer('a header without a name');
      headers.push(name, withoutBlanks(line, colon + 1));
    }
    this.#frame(status, statusLine.charCodeAt(7) === digitOne, headers);
    this.events.onHead(status, headers);
    if (this.#state === 'length' && this.#remaining === 0) this.#end();
  }

  /** Where the body ends, and whether the connection goes on after it (RFC 9112, 6.3). */
  #frame(status: number, isHttp11: boolean, headers: readonly string[]): void {
    let length: string | undefined;
    let coding: string | undefined;
    this.#keepAlive = isHttp11;
    this.#keepAliveHintS = undefined;
    for (let index = 0; index < headers.length; index += 2) {
      const value = headers[index + 1] as string;
      switch (headers[index]) {
        case 'content-length':
          if (length !== undefined || !lengthPattern.test(value)) throw new BadAnswer('a length that is none, or two');
          length = value;
          break;
        case 'transfer-encoding':
          if (coding !== undefined || value.toLowerCase() !== 'chunked') throw new BadAnswer('a transfer coding other than chunked');
          coding = value;
          break;
        case 'connection':
          if (closePattern.test(value)) this.#keepAlive = false;
          break;
        case 'keep-alive':
          this.#keepAliveHintS = hintOf(value);
      }
    }
    if (length !== undefined && coding !== undefined) throw new BadAnswer('a length and chunks at once');
    if (status === 204 || status === 304) return this.#frameNoBody(length, coding);
    if (coding !== undefined) this.#state = 'chunk-size';
    else if (length !== undefined) {
      this.#state = 'length';
      this.#remaining = Number(length);
    } else {
      this.#state = 'until-close';
      this.#keepAlive = false;
    }
  }

  /** A node that says there is a body where there can be none might send one: nothing is read after it on this connection. */
  #frameNoBody(length: string | undefined, coding: string | undefined): void {
    this.#state = 'length';
    this.#remaining = 0;
    if (coding !== undefined || (length !== undefined && length !== '0')) this.#keepAlive = false;
  }

  #counted(bytes: Buffer): Buffer {
    const taken = bytes.length <= this.#remaining ? bytes : bytes.subarray(0, this.#remaining);
    this.#remaining -= taken.length;
    const isChunk = this.#state === 'chunk';
    if (this.#remaining === 0 && isChunk) this.#state = 'chunk-end';
    this.events.onBody(taken);
    if (this.#remaining === 0 && !isChunk) this.#end();
    return bytes.subarray(taken.length);
  }

  #line(bytes: Buffer): Buffer {
    const all = this.#partial === undefined ? bytes : Buffer.concat([this.#partial, bytes]);
    const end = all.indexOf('\r\n');
    if ((end < 0 ? all.length : end) > lineBytesMax) throw new BadAnswer(`a line of more than ${lineBytesMax} bytes between chunks`);
    if (end < 0) {
      this.#partial = Buffer.from(all);
      return empty;
    }
    this.#partial = undefined;
    this.#takeLine(all.toString('latin1', 0, end));
    return all.subarray(end + 2);
  }

  #takeLine(line: string): void {
    if (this.#state === 'trailer') {
      if (line === '') this.#end();
    } else if (this.#state === 'chunk-end') {
      if (line !== '') throw new BadAnswer('a chunk longer than it said');
      this.#state = 'chunk-size';
    } else {
      const [, digits] = chunkSizePattern.exec(line) ?? [];
      if (digits === undefined) throw new BadAnswer('a chunk without a size');
      this.#remaining = parseInt(digits, 16);
      this.#state = this.#remaining === 0 ? 'trailer' : 'chunk';
    }
  }

  #end(): void {
    this.#state = 'idle';
    this.events.onEnd();
  }
}

/** Of a line from `start` on, without blanks and tabs at either end. `trim` would take more than that. */
function withoutBlanks(line: string, start: number): string {
  let from = start;
  let to = line.length;
  while (from < to && isBlank(line.charCodeAt(from))) from++;
  while (to > from && isBlank(line.charCodeAt(to - 1))) to--;
  return line.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const empty = Buffer.alloc(0);
const digitOne = '1'.charCodeAt(0);
const statusLinePattern = /^HTTP\/1\.[01] [1-9]\d\d(?: |$)/;
/** Controls but tabs, and line ends that are not both characters. */
const forbiddenPattern = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|[^\r]\n/;
const namePattern = /^[\w!#$%&'*+.^`|~-]+$/;
/** Exact in a double. */
const lengthPattern = /^\d{1,15}$/;
const chunkSizePattern = /^([\da-f]{1,12})[ \t]*(?:;|$)/i;
const closePattern = /(?:^|,)\s*close\s*(?:,|$)/i;

function hintOf(keepAlive: string): number | undefined {
  const [, seconds] = /(?:^|,)\s*timeout=(\d{1,6})/i.exec(keepAlive) ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}
