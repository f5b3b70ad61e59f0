import { Command } from '@binnacle/mysql-wire/command';
import { lexerMode } from '@binnacle/mysql-wire/lexer';
import { decodeOk } from '@binnacle/mysql-wire/ok-packet';
import { queryTextStart } from '@binnacle/mysql-wire/query-text';
import type { ResponseTracker } from '@binnacle/mysql-wire/response-tracker';
import { statementCharactersMax, type SessionMeter } from '../metrics/session-meter.js';
import { SessionState } from '../migration/session-state.js';
import type { CaptureTap } from '../traffic/capture/capture-tap.js';
import { PreparedTexts } from './prepared-texts.js';
import { isRetryable } from './read-retry.js';
import type { SessionHost } from './session-host.js';
import type { Session } from './session.js';

const statementIdBytes = 5;
const preparedBytesMax = 65_536;

/** Tells those who have to know what passes: what the session holds (`SessionState`), what it costs (`SessionMeter`). Who did not ask costs nothing. */
export class Witness {
  /** COM_STMT_PREPAREs and COM_RESET_CONNECTIONs without their answers. */
  preparing = 0;
  resetting = 0;
  /** COM_QUIT has passed. */
  quitting = false;
  /** The only command under way, if it may be sent again; for as long as nothing of its answer has come. */
  read: Buffer | undefined;
  /** While its traffic is captured. */
  tap: CaptureTap | undefined;
  #metersStatement = false;
  /** Where nobody else knows them, and somebody may ask. */
  #texts: PreparedTexts | undefined;

  constructor(
    private readonly session: Session,
    private readonly host: SessionHost,
    readonly state: SessionState,
    /** Whether the state is told anything but the database. */
    readonly tracked: boolean,
    readonly meter: SessionMeter | undefined,
  ) {}

  /** A command was admitted, and its bytes are about to go. */
  commandBegins(command: number): void {
    this.read = undefined;
    if (this.meter !== undefined) this.#metersStatement = this.meter.commandForwarded(command, performance.now());
    if (command === Command.stmtPrepare) this.preparing++;
    else if (command === Command.resetConnection && this.tracked) this.resetting++;
    else if (command === Command.quit) this.quitting = true;
  }

  /** How many bytes of the command that begins are to be seen by `commandPasses`. */
  bytesWanted(command: number): number {
    const tracked = this.tracked ? SessionState.commandBytesMax(command) : this.#textBytesWanted(command);
    return this.#metersStatement ? Math.max(tracked, command === Command.query ? statementCharactersMax : statementIdBytes) : tracked;
  }

  #textBytesWanted(command: number): number {
    if (command === Command.stmtPrepare && this.session.lease !== undefined) return preparedBytesMax;
    return command === Command.stmtClose && this.#texts !== undefined ? statementIdBytes : 0;
  }

  /** A command's last byte is here and goes on behind this; `payload` as far as it was wanted. */
  commandPasses(command: number, payload: Buffer, start: number, end: number, cut: boolean): void {
    if (this.tracked) {
      if (this.host.retriesReads) this.read = this.#readOf(command, payload, start, end, cut);
      this.state.onCommand(command, payload, start, end, cut);
    } else if (command === Command.stmtPrepare) {
      this.#texts ??= new PreparedTexts();
      this.#texts.asked(cut ? undefined : Buffer.from(payload.subarray(start + 1, end)));
    } else if (command === Command.stmtClose && end - start >= statementIdBytes) this.#texts?.closed(payload.readUInt32LE(start + 1));
    if (this.#metersStatement) this.#meterStatement(command, payload, start, end);
  }

  #readOf(command: number, payload: Buffer, start: number, end: number, cut: boolean): Buffer | undefined {
    if (command !== Command.query || cut || this.session.responses.tracker.commandsPending > 1) return undefined;
    return isRetryable(this.state, payload, start, end) ? Buffer.from(payload.subarray(start, end)) : undefined;
  }

  #meterStatement(command: number, payload: Buffer, start: number, end: number): void {
    this.#metersStatement = false;
    if (command !== Command.query) {
      if (end - start >= statementIdBytes) this.meter?.prepared(payload.readUInt32LE(start + 1));
      return;
    }
    const textStart = queryTextStart(payload, this.session.backend.capabilities.capabilities, start, end);
    this.meter?.statement(payload.toString('utf8', textStart, Math.min(end, textStart + statementCharactersMax)), lexerMode(this.state.sqlMode));
  }

  /** Bytes of an answer are here. */
  bytesCome(bytes: number): void {
    this.read = undefined;
    const { meter } = this;
    if (meter === undefined) return;
    meter.bytesRead += bytes;
    if (meter.awaitsFirstByte) meter.firstByte(performance.now());
  }

  /** A statement was prepared: gives the id that the client is told. */
  prepared({ statementId, parameterCount, columnCount }: ResponseTracker): number {
    const clientId = this.session.statementIds.prepared(statementId);
    this.tap?.prepared(clientId);
    if (this.tracked) this.state.onPrepared(clientId, parameterCount, columnCount);
    this.#texts?.prepared(clientId);
    return clientId;
  }

  /** What was prepared under this id; undefined: nothing that is known. */
  preparedText(clientId: number): Buffer | 'not kept' | undefined {
    const { prepared } = this.state;
    const tracked = prepared.get(clientId);
    const text = tracked === undefined ? this.#texts?.get(clientId) : Buffer.from(tracked.statement.text, 'latin1');
    return text ?? ((this.tracked ? prepared : this.#texts)?.overflowed === true ? 'not kept' : undefined);
  }

  /** Those of an untracked session, by id. */
  preparedTexts(): Iterable<[id: number, text: Buffer]> {
    return this.#texts ?? [];
  }

  /** The session was reset at its server. */
  reset(): void {
    this.session.statementIds.clear();
    this.#texts?.clear();
  }

  resultEnded(tracker: ResponseTracker): void {
    this.tap?.resultEnded(tracker);
    if (tracker.sessionChanged) this.#changed(tracker);
  }

  responseEnded(command: number, tracker: ResponseTracker): void {
    const { errorCode, warnings, affectedRows, insertId } = tracker;
    this.tap?.ended(command, tracker);
    if (tracker.sessionChanged) this.#changed(tracker);
    if (this.tracked) {
      this.state.onResult(errorCode, Math.max(0, tracker.statusFlags), warnings, affectedRows, insertId);
      if (command === Command.resetConnection) this.resetting--;
    }
    const { statementIds, admission, commands } = this.session;
    if (command === Command.stmtPrepare) {
      this.preparing--;
      this.#texts?.answered();
      if (errorCode !== 0) statementIds.prepareFailed();
    } else if (command === Command.resetConnection && errorCode === 0) this.reset();
    admission.ended(errorCode);
    if (this.meter === undefined) return;
    this.meter.commandDone(command, performance.now());
    this.meter.traffic(tracker.scanner.packets, commands.tracker.scanner.packets);
  }

  #changed(tracker: ResponseTracker): void {
    const { payload, payloadStart, payloadEnd, payloadCut } = tracker.scanner;
    if (payloadCut) return this.state.onUnreadOk();
    const ok = decodeOk(payload, this.session.backend.capabilities.capabilities, payloadStart, payloadEnd);
    if (this.tracked) return this.state.onOk(ok);
    for (const change of ok.changes) if (change.kind === 'schema') this.state.database = change.name;
  }
}
