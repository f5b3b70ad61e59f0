import type { OkPacket } from '@binnacle/mysql-wire/ok-packet';
import type { MoveBlocker } from './move-blocker.js';

/** What a session's state depends on and what does not change during it. */
export interface SessionStateOptions {
  /** Agreed upon by client and backend: they decide where the text of COM_QUERY begins. */
  readonly capabilities: number;
  /** Of the login. */
  readonly collation: number;
  readonly database: string;
  readonly statusFlags: number;
  /** Of the settings, lower case, with or without their schema. */
  readonly allowedFunctions: ReadonlySet<string>;
  readonly allowedProcedures: ReadonlySet<string>;
  /** `Backend.storedFunctions` of the backend of the moment. */
  storedFunctions(): ReadonlySet<string> | undefined;
}

/**
 * What a session has on its backend, followed by what passes. `Session` calls it for every command:
 *
 *     capture(SessionState.commandBytesMax(command));      // at CommandEvent.begin
 *     state.onCommand(command, payload, start, end, cut);  // at CommandEvent.end, before the command is forwarded; payload[start] is its code
 *     state.onPrepared(clientId, parameterCount);          // at ResponseEvent.prepared: the id that the client is told
 *     state.onOk(ok) | state.onUnreadOk();                 // whenever tracker.sessionChanged: the decoded packet, or that it was cut
 *     state.onResult(errorCode, statusFlags, warnings);    // at ResponseEvent.complete, after onOk
 *
 * Statement ids are always those of the client. After COM_RESET_CONNECTION or COM_CHANGE_USER `needsArming` is true: `armTrackers` has to
 * run before the next command is forwarded.
 */
export class SessionState {
  needsArming = false;

  constructor(readonly options: SessionStateOptions) {}

  /** How many bytes of a command are to be kept for `onCommand`, its code included. */
  static commandBytesMax(_command: number): number {
    return 65_536;
  }

  onCommand(_command: number, _payload: Buffer, _start: number, _end: number, _cut: boolean): void {}
  onPrepared(_clientStatementId: number, _parameterCount: number): void {}
  onOk(_ok: OkPacket): void {}
  onUnreadOk(): void {}
  onResult(_errorCode: number, _statusFlags: number, _warnings: number): void {}

  /** Cheap enough for every command boundary: no transaction, cursor, lock or other known obstacle. For `Session.hold`. */
  get atRest(): boolean {
    return false;
  }

  /** Empty: it can move, as far as the session itself is concerned. */
  blockers(): MoveBlocker[] {
    return [];
  }
}
