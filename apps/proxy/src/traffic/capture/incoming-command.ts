import { SecretHints } from '@binnacle/mysql-wire/secret-hints';
import type { PayloadSink } from '@binnacle/mysql-wire/packet-scanner';
import type { TrafficBuffer } from './traffic-buffer.js';

/** A command that does not come in one chunk: its pieces are copied as they come, once. */
export class IncomingCommand implements PayloadSink {
  /** Of the text, as far as it has come. */
  readonly hints = new SecretHints();
  #pieces: Buffer[] = [];
  #bytes = 0;
  tooLarge = false;

  constructor(private readonly buffer: TrafficBuffer) {}

  row(chunk: Buffer, start: number, end: number): void {
    if (this.tooLarge) return;
    this.hints.read(chunk, start, end);
    if (this.buffer.hold(end - start)) {
      this.#bytes += end - start;
      this.#pieces.push(Buffer.from(chunk.subarray(start, end)));
      return;
    }
    this.letGo();
    this.tooLarge = true;
  }

  rowEnd(): void {}

  /** All of it in one piece, to be judged and written as every other command. */
  whole(): Buffer {
    return this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
  }

  letGo(): void {
    this.buffer.release(this.#bytes);
    this.#bytes = 0;
    this.#pieces = [];
  }
}
