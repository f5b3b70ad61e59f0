import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { encodeErr, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { lexerMode, type LexerMode } from '@binnacle/mysql-wire/lexer';
import { encodeOk } from '@binnacle/mysql-wire/ok-packet';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import type { PacketScanner } from '@binnacle/mysql-wire/packet-scanner';
import { queryTextStart } from '@binnacle/mysql-wire/query-text';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { MysqlError } from '../connection/mysql-error.js';
import { forgottenError } from '../migration/forgotten.js';
import type { FoundSession } from '../process/worker-protocol.js';
import { sessionIdMin } from '../process/session-ids.js';
import type { Namespace } from '../tenants/namespace.js';
import { judgedBytesMax } from '../tenants/refuse-list.js';
import { Verdict } from './command-forwarder.js';
import { killBytesMax, killText, mayBeKill, parseKill, type KillStatement } from './kill-statement.js';
import type { SessionHost } from './session-host.js';
import type { Session } from './session.js';
import { lastPrepared } from './statement-ids.js';

/** Of a longer statement, the beginning is seen. */
const textBytesMax = 65_536;
const statementIdBytes = 5;
const processKillBytes = 5;

/**
 * What a command has to pass before it goes on: the limits of its namespace, and what only the proxy can answer. Most pass without anyone having seen
 * more than their first byte.
 */
export class CommandAdmission {
  /** What `wait` was for has been found out: this decides, once the session has its backend for itself. */
  #decide: (() => Verdict) | undefined;
  /** To be said in the place of the backend, once all answers before it are there. */
  #answer: Buffer | undefined;
  /** Somebody is asked; `admit` is called again once he has answered. */
  #asking = false;
  /** The last COM_STMT_PREPARE went nowhere: no statement is "the one prepared last". */
  #prepareRefused = false;
  /** The session whose KILL the next response decides over. */
  #killing = 0;

  constructor(
    private readonly session: Session,
    private readonly host: SessionHost,
  ) {}

  /** How much of a command has to be here before `admit`, which then sees it; 0: its first byte is enough. */
  bytesNeeded(command: number, chunk: Buffer, scanner: PacketScanner, end: number): number {
    const forgets = this.session.state.forgets;
    switch (command) {
      case Command.query: {
        if (this.session.lease?.namespace.refusesStatements === true) return judgedBytesMax;
        if (forgets) return textBytesMax;
        return scanner.frameBytes <= killBytesMax && mayBeKill(chunk, this.#textOffset(chunk, scanner.offset, end), end) ? scanner.frameBytes : 0;
      }
      case Command.stmtPrepare:
        return this.session.lease?.namespace.refusesStatements === true ? judgedBytesMax : 0;
      case Command.stmtExecute:
      case Command.stmtBulkExecute:
        return forgets || this.#prepareRefused || this.session.lease?.namespace.refusesStatements === true ? statementIdBytes : 0;
      case Command.processKill:
        return processKillBytes;
      case Command.changeUser:
        return textBytesMax;
      default:
        return 0;
    }
  }

  /** Behind query attributes, if there are none in fact. */
  #textOffset(chunk: Buffer, payloadStart: number, end: number): number {
    if (!has(this.session.backend.capabilities.capabilities, Capability.queryAttributes)) return payloadStart + 1;
    return payloadStart + 1 < end && chunk[payloadStart + 1] === 0 ? payloadStart + 3 : end;
  }

  admit(command: number, payload: Buffer | undefined, start: number, end: number): Verdict {
    if (this.#asking) return Verdict.wait;
    if (this.#answer !== undefined) return this.#say();
    const decide = this.#decide;
    this.#decide = undefined;
    let verdict = decide?.();
    if (verdict === undefined) {
      verdict = payload === undefined ? Verdict.forward : this.#own(command, payload, start, end);
      if (verdict === Verdict.forward) verdict = this.#limits(command, payload, start, end);
    }
    if (verdict === Verdict.forward) {
      if (command === Command.stmtPrepare) this.#prepareRefused = false;
      this.session.forwards(command);
    }
    return verdict;
  }

  /** An answer to a command of this session has ended. */
  ended(errorCode: number): void {
    this.session.lease?.end();
    if (this.#killing === 0) return;
    if (errorCode === 0) this.host.killed(this.#killing);
    this.#killing = 0;
  }

  /** What the proxy does itself. */
  #own(command: number, payload: Buffer, start: number, end: number): Verdict {
    if (command === Command.changeUser) return this.#changeUser(payload, start, end);
    if (command === Command.processKill) {
      const id = end - start < processKillBytes ? 0 : payload.readUInt32LE(start + 1);
      return id < sessionIdMin ? Verdict.forward : this.#kill({ what: 'connection', hardness: '', id });
    }
    if (command !== Command.query || end - start > killBytesMax) return Verdict.forward;
    const textStart = this.#textOffset(payload, start, end);
    if (!mayBeKill(payload, textStart, end)) return Verdict.forward;
    const kill = parseKill(payload.toString('latin1', queryTextStart(payload, this.session.backend.capabilities.capabilities, start, end), end), this.lexerMode);
    return kill === undefined || kill.id < sessionIdMin ? Verdict.forward : this.#kill(kill);
  }

  #limits(command: number, payload: Buffer | undefined, start: number, end: number): Verdict {
    const { session } = this;
    const { state, lease } = session;
    if (state.forgets && payload !== undefined && state.asksForgotten(payload, start, end)) return this.#refuse({ ...Errors.unknown, message: forgottenError });
    if (lease === undefined) return Verdict.forward;
    const { namespace } = lease;
    if (payload !== undefined && (namespace.refusesStatements || this.#prepareRefused)) {
      const executes = command === Command.stmtExecute || command === Command.stmtBulkExecute;
      // What is being prepared may be what it executes.
      if (executes && session.witness.preparing > 0) return Verdict.wait;
      const refusal = executes ? this.#executionRefusal(namespace, payload, start, end) : this.#textRefusal(namespace, command, payload, start, end);
      if (refusal !== undefined) return this.#refuse(refusal);
    }
    if (!namespace.limited || !isAnswered(command)) return Verdict.forward;
    // One sent ahead would count as part of the one before it.
    if (!session.responses.tracker.idle) return Verdict.wait;
    const turn = lease.begin(command, (this.#statusFlags & StatusFlag.inTransaction) !== 0);
    if (turn === undefined) return Verdict.forward;
    if (!('done' in turn)) return this.#refuse(turn);
    return this.#ask(turn.done, (refusal) => (refusal === undefined ? Verdict.forward : this.#refuse(refusal)));
  }

  #textRefusal(namespace: Namespace, command: number, payload: Buffer, start: number, end: number): ErrPacket | undefined {
    if (command !== Command.query && command !== Command.stmtPrepare) return undefined;
    const textStart = command === Command.query ? queryTextStart(payload, this.session.backend.capabilities.capabilities, start, end) : start + 1;
    return namespace.refusal(end - start < judgedBytesMax ? payload.toString('utf8', textStart, end) : undefined, this.lexerMode);
  }

  /** The list may be longer than it was when the statement was prepared. */
  #executionRefusal(namespace: Namespace, payload: Buffer, start: number, end: number): ErrPacket | undefined {
    if (end - start < statementIdBytes) return undefined;
    const id = payload.readUInt32LE(start + 1);
    if (this.#prepareRefused && id === lastPrepared) return { code: 1243, sqlState: 'HY000', message: `Unknown prepared statement handler (${id}) given to EXECUTE` };
    const text = this.session.witness.preparedText(id);
    return text === undefined ? undefined : namespace.refusal(text === 'not kept' ? undefined : text.toString(), this.lexerMode);
  }

  /** Waits for somebody; then the command is decided upon by `answered`, after whoever has taken the session's backend meanwhile. */
  #ask<Answer>(asked: Promise<Answer>, answered: (answer: Answer) => Verdict): typeof Verdict.wait {
    this.#asking = true;
    const decided = (decide: () => Verdict): void => {
      this.#asking = false;
      this.#decide = decide;
      this.session.proceed();
    };
    asked.then(
      (answer) => decided(() => answered(answer)),
      (error: unknown) => decided(() => this.#refuse(error instanceof MysqlError ? error : { ...Errors.unknown, message: (error as Error).message })),
    );
    return Verdict.wait;
  }

  #refuse(error: ErrPacket): Verdict {
    if (this.session.commands.tracker.command === Command.stmtPrepare) this.#prepareRefused = true;
    this.#answer = framePayload(encodeErr(error, error.message), 1);
    return this.#say();
  }

  #say(): Verdict {
    const { session } = this;
    if (!session.responses.tracker.idle) return Verdict.wait;
    session.toClient(this.#answer!);
    this.#answer = undefined;
    return Verdict.drop;
  }

  /** Of one of our sessions: at its backend, by the rights of who asks. */
  #kill(kill: KillStatement): Verdict {
    const { session, host } = this;
    if (!session.responses.tracker.idle) return Verdict.wait;
    const { backend } = session;
    if (kill.id === session.id) return this.#killHere(kill, backend.threadId);
    return this.#ask(host.findSession(kill.id), (victim) => {
      if (victim === undefined) return this.#refuse({ ...Errors.noSuchThread, message: `Unknown thread id: ${kill.id}` });
      if (victim.backend === session.backend.backend.id) return this.#killHere(kill, victim.backendThreadId);
      return this.#killElsewhere(kill, victim);
    });
  }

  /** On our own backend it is our own statement, with another number. */
  #killHere(kill: KillStatement, backendThreadId: number): Verdict {
    const { session } = this;
    const attributes = has(session.backend.capabilities.capabilities, Capability.queryAttributes) ? [0, 1] : [];
    const payload = Buffer.concat([Buffer.from([Command.query, ...attributes]), Buffer.from(killText(kill, backendThreadId))]);
    this.#killing = kill.what === 'connection' ? kill.id : 0;
    session.forwards(Command.query);
    session.witness.tap?.killed(killText(kill, kill.id));
    session.witness.commandPasses(Command.query, payload, 0, payload.length, false);
    session.toBackend(framePayload(payload, 0));
    return Verdict.drop;
  }

  #killElsewhere(kill: KillStatement, victim: FoundSession): Verdict {
    const { session, host } = this;
    return this.#ask(host.killElsewhere(session, victim, killText(kill, victim.backendThreadId)), () => {
      if (kill.what === 'connection') host.killed(kill.id);
      this.#answer = framePayload(encodeOk({ statusFlags: this.#statusFlags }, session.client.capabilities.capabilities), 1);
      return this.#say();
    });
  }

  #changeUser(payload: Buffer, start: number, end: number): Verdict {
    const { session, host } = this;
    if (!session.responses.tracker.idle) return Verdict.wait;
    this.#asking = true;
    session.witness.tap?.userChanges();
    const copy = Buffer.from(payload.subarray(start, end));
    session.exclusively(async () => {
      const changed = await host.changeUser(session, copy);
      this.#asking = false;
      this.#decide = () => Verdict.drop;
      if (changed !== undefined) session.userChanged(changed);
    });
    return Verdict.wait;
  }

  /** Before the first answer of a backend, those of its login. */
  get #statusFlags(): number {
    const { responses, backend } = this.session;
    return responses.tracker.statusFlags === -1 ? backend.statusFlags : responses.tracker.statusFlags;
  }

  /** How quotes in its statements are read. */
  get lexerMode(): LexerMode {
    const { state } = this.session;
    const flags = this.#statusFlags;
    if (state.sqlMode !== '') return lexerMode(state.sqlMode);
    return { ansiQuotes: this.session.backend.kind === 'mariadb' && (flags & StatusFlag.ansiQuotes) !== 0, noBackslashEscapes: (flags & StatusFlag.noBackslashEscapes) !== 0 };
  }
}
