import { Command } from '@binnacle/mysql-wire/command';
import type { RecordHead, TrafficBuffer } from './traffic-buffer.js';

interface Held {
  readonly head: RecordHead;
  readonly payload: Buffer;
  /** A COM_STMT_PREPARE without its answer. */
  unanswered: boolean;
  /** It means the statement that was prepared last. */
  readonly ofLast: boolean;
}

/**
 * The records of one session in the order of its commands. The record of a COM_STMT_PREPARE names the id that the server gives it only in its answer, and whatever the client sends
 * behind it waits for that too.
 */
export class RecordOrder {
  readonly #held: Held[] = [];

  constructor(private readonly buffer: TrafficBuffer) {}

  /** False: there is no room for it. */
  put(head: RecordHead, payload: Buffer, start: number, end: number, ofLast: boolean): boolean {
    if (this.#held.length === 0) {
      this.buffer.record(head, payload, start, end);
      return true;
    }
    return this.#hold({ head: { ...head }, payload: payload.subarray(start, end), unanswered: false, ofLast });
  }

  putPrepare(head: RecordHead, payload: Buffer, start: number, end: number): boolean {
    return this.#hold({ head: { ...head, command: Command.stmtPrepare }, payload: payload.subarray(start, end), unanswered: true, ofLast: false });
  }

  #hold(held: Held): boolean {
    if (!this.buffer.hold(held.payload.length)) return false;
    this.#held.push({ ...held, payload: Buffer.from(held.payload) });
    return true;
  }

  /** The first one that has no answer yet has got this id. */
  prepared(statementId: number): void {
    const first = this.#held.find(({ unanswered }) => unanswered);
    if (first !== undefined) first.head.capturedStatementId = statementId;
  }

  /** The answer to the first one is whole; it may be an error. */
  answered(): void {
    const first = this.#held.find(({ unanswered }) => unanswered);
    if (first === undefined) return;
    first.unanswered = false;
    let lastId = 0;
    while (this.#held[0]?.unanswered === false) {
      const { head, ofLast } = this.#held[0];
      if (head.command === Command.stmtPrepare) lastId = head.capturedStatementId ?? 0;
      else if (ofLast) head.capturedStatementId = lastId;
      this.#writeFirst();
    }
  }

  /** The session is over: what has no answer will have none. */
  end(): void {
    while (this.#held.length > 0) this.#writeFirst();
  }

  #writeFirst(): void {
    const { head, payload } = this.#held.shift()!;
    this.buffer.record(head, payload, 0, payload.length);
    this.buffer.release(payload.length);
  }
}
