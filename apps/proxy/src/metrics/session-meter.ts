import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import type { LexerMode } from '@binnacle/mysql-wire/lexer';
import { statementKind } from '@binnacle/mysql-wire/statement-kind';
import { type BackendMeter, statementKinds } from './backend-meter.js';
import type { Interactions } from './interactions.js';

/** What the slow log's digest is made of; the rest of a longer statement is not kept. */
export const statementCharactersMax = 16_384;
const other = statementKinds.indexOf('other');
const kindIndexes = new Map(statementKinds.map((kind, index) => [kind, index]));

/**
 * Measures one session. Calls take numbers and times of `performance.now()`, and make nothing; only while interactions are measured for its
 * user does it want statements.
 */
export class SessionMeter {
  #command = 0;
  #startMs = 0;
  #waits = false;
  #generation = -1;
  #measured = false;
  #kind = other;
  #text: string | undefined;
  #mode: LexerMode | undefined;
  #statementId: number | undefined;
  /** From the backend and to it, since `traffic` was called: whoever forwards adds to them. */
  bytesRead = 0;
  bytesWritten = 0;
  #packetsRead = 0;
  #packetsWritten = 0;

  #backend: BackendMeter;

  constructor(
    backend: string,
    private readonly meterOf: (backend: string) => BackendMeter,
    private readonly interactions: Interactions,
    readonly user: string,
    readonly sessionId: number,
  ) {
    this.#backend = meterOf(backend);
  }

  /** Of the backend it is at. */
  get backend(): BackendMeter {
    if (this.#backend.dropped) this.#backend = this.meterOf(this.#backend.backend);
    return this.#backend;
  }

  /** It was moved. */
  use(backend: string): void {
    this.#backend = this.meterOf(backend);
    this.#packetsRead = 0;
  }

  /** Whether `firstByte` is to be called: asking for the time would cost more than all the rest. */
  get awaitsFirstByte(): boolean {
    return this.#waits;
  }

  /** A command goes to the backend. True: call `statement` too, if it is COM_QUERY, or `prepared`, if it names a prepared statement. */
  commandForwarded(command: number, nowMs: number): boolean {
    if (!isAnswered(command)) {
      this.backend.commandDone(command, 0, nowMs);
      return false;
    }
    this.#command = command;
    this.#startMs = nowMs;
    if (this.#generation !== this.interactions.generation) {
      this.#generation = this.interactions.generation;
      this.#measured = this.interactions.measures(this.user);
    }
    if (!this.#measured) return false;
    this.#waits = true;
    this.#kind = other;
    return command === Command.query || (command >= Command.stmtExecute && command <= Command.stmtReset) || command === Command.stmtFetch || command === Command.stmtBulkExecute;
  }

  /** @param text the beginning is enough: `statementCharactersMax` */
  statement(text: string, mode: LexerMode): void {
    this.#kind = kindIndexes.get(statementKind(text, mode)) as number;
    this.#text = text;
    this.#mode = mode;
  }

  prepared(statementId: number): void {
    this.#statementId = statementId;
  }

  /** The answer begins; calls after the first of a command do nothing. */
  firstByte(nowMs: number): void {
    if (!this.#waits) return;
    this.#waits = false;
    const ms = nowMs - this.#startMs;
    this.backend.interaction(this.#command, this.#kind, ms);
    if (ms >= this.interactions.slowMs) this.#tellSlow(ms, nowMs);
    this.#text = undefined;
    this.#mode = undefined;
    this.#statementId = undefined;
  }

  /** The answer to a command has ended. Of commands sent one behind the other, the last one's time counts for all of them. */
  commandDone(command: number, nowMs: number): void {
    this.backend.commandDone(command, nowMs - this.#startMs, nowMs);
  }

  /** The packets that this backend has sent to the session, and those that the client has sent in it. */
  traffic(packetsRead: number, packetsWritten: number): void {
    const { backend } = this;
    backend.received(this.bytesRead, packetsRead - this.#packetsRead);
    backend.sent(this.bytesWritten, packetsWritten - this.#packetsWritten);
    this.bytesRead = this.bytesWritten = 0;
    this.#packetsRead = packetsRead;
    this.#packetsWritten = packetsWritten;
  }

  #tellSlow(ms: number, nowMs: number): void {
    const kind = statementKinds[this.#kind] as string;
    const of = { command: this.#command, kind, text: this.#text, mode: this.#mode, statementId: this.#statementId };
    this.interactions.slow({ ms, sessionId: this.sessionId, user: this.user, backend: this.backend.backend, ...of }, nowMs);
  }
}
