import { lastPrepared } from './statement-ids.js';

const statementsMax = 4_096;
const bytesMax = 1_048_576;

/** Texts of the statements that an untracked session has prepared, for lists that get longer while it runs. */
export class PreparedTexts {
  readonly #byId = new Map<number, Buffer>();
  /** Of those without an answer, in their order. */
  readonly #asked: (Buffer | undefined)[] = [];
  #bytes = 0;
  #lastId = lastPrepared;
  /** There are, or were, statements whose text is not kept. */
  overflowed = false;

  /** @param text undefined: longer than what was read */
  asked(text: Buffer | undefined): void {
    this.#asked.push(text);
  }

  /** The first of those asked for is prepared. */
  prepared(clientId: number): void {
    const text = this.#asked[0];
    this.closed(clientId);
    this.#lastId = clientId;
    if (text === undefined || this.#byId.size >= statementsMax || this.#bytes + text.length > bytesMax) {
      this.overflowed = true;
      return;
    }
    this.#byId.set(clientId, text);
    this.#bytes += text.length;
  }

  /** The first of those asked for has its whole answer. */
  answered(): void {
    this.#asked.shift();
  }

  /** By id, in the order in which they were prepared. */
  [Symbol.iterator](): IterableIterator<[id: number, text: Buffer]> {
    return this.#byId.entries();
  }

  /** In the character set of the session. */
  get(clientId: number): Buffer | undefined {
    return this.#byId.get(clientId === lastPrepared ? this.#lastId : clientId);
  }

  closed(clientId: number): void {
    this.#bytes -= this.#byId.get(clientId)?.length ?? 0;
    this.#byId.delete(clientId);
  }

  /** The session was reset. */
  clear(): void {
    this.#byId.clear();
    this.#bytes = 0;
    this.overflowed = false;
  }
}
