import { Command } from '@binnacle/mysql-wire/command';
import { encodeErr, type ErrPacket } from '@binnacle/mysql-wire/err-packet';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import { MalformedPacketError } from '@binnacle/mysql-wire/malformed-packet-error';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { LoggedInClient } from '../connection/client-connection.js';
import type { Credential } from '../connection/credentials.js';
import { closeSoon, leave } from '../connection/nobody.js';
import { moveBlocker, type MoveBlocker } from '../migration/move-blocker.js';
import type { MovableSession } from '../migration/movable-session.js';
import type { SessionState } from '../migration/session-state.js';
import type { Lease } from '../tenants/namespace.js';
import { CommandAdmission } from './command-admission.js';
import { CommandForwarder } from './command-forwarder.js';
import { ResponseForwarder } from './response-forwarder.js';
import type { Changed, SessionHost, SessionStart } from './session-host.js';
import { StatementIds } from './statement-ids.js';
import { Witness } from './witness.js';

export type SessionPhase = 'idle' | 'busy' | 'moving' | 'closing';

/** Why the client is not read from: bits. */
const Pause = { stopped: 1, backendFull: 2, exclusive: 4 } as const;

interface Holder {
  readonly when: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * One client and the backend it is on. Forwards both ways; at a command boundary somebody may have the backend for himself (`hold`), and put another
 * one in its place.
 */
export class Session implements MovableSession {
  readonly id: number;
  readonly startedAtMs: number;
  readonly state: SessionState;
  readonly statementIds = new StatementIds();
  readonly commands: CommandForwarder;
  readonly admission: CommandAdmission;
  readonly witness: Witness;
  responses: ResponseForwarder;
  client: LoggedInClient;
  backend: BackendConnection;
  credential: Credential | undefined;
  namespace: string;
  /** Its place there. */
  lease: Lease | undefined;
  commandsTotal = 0;

  readonly #host: SessionHost;
  #closing = false;
  /** Bits of `Pause`. */
  #paused: number = Pause.exclusive;
  #backendPaused = false;
  /** Somebody else has the backend's channel. */
  #exclusive = true;
  #holder: Holder | undefined;
  #clientEnded = false;
  /** Code of an error that the backend sent although nobody had asked. */
  #announced = 0;

  constructor(start: SessionStart, host: SessionHost) {
    this.id = start.id;
    this.namespace = start.namespace;
    this.startedAtMs = start.startedAtMs;
    this.state = start.state;
    this.client = start.client;
    this.backend = start.backend;
    this.credential = start.credential;
    this.lease = start.lease;
    this.#host = host;
    this.commands = new CommandForwarder(this);
    this.witness = new Witness(this, host, start.state, start.tracked, start.meter);
    this.admission = new CommandAdmission(this, host);
    this.responses = new ResponseForwarder(this, start.client, start.backend);
  }

  /** From here on it forwards. */
  start(): void {
    const { rest, channel } = this.client;
    this.#attachClient();
    if (channel.closed) return this.close();
    if (this.witness.tracked && !this.state.armed) this.exclusively(() => this.#host.arm(this));
    else this.#endExclusive();
    if (rest.length > 0 && !this.#closing) this.#onClientBytes(Buffer.from(rest), 0, rest.length);
  }

  get user(): string {
    return this.client.user;
  }

  get database(): string {
    return this.state.database;
  }

  get phase(): SessionPhase {
    if (this.#closing) return 'closing';
    if (this.#exclusive) return 'moving';
    return this.#atBoundary ? 'idle' : 'busy';
  }

  /** Empty: it can move. */
  why(): MoveBlocker[] {
    const blockers = this.witness.tracked ? this.state.blockers() : [];
    if (this.credential === undefined && this.backend.kind !== 'tidb') blockers.push(moveBlocker('credential'));
    return blockers;
  }

  /** Nothing is under way in either direction. */
  get #atBoundary(): boolean {
    return this.responses.tracker.idle && this.commands.atBoundary;
  }

  // ---- Somebody else's turn.

  hold(timeoutMs: number, when: () => boolean): Promise<void> {
    if (this.#closing || this.#exclusive || this.#holder !== undefined) return Promise.reject(new Error('busy'));
    if (this.#atBoundary && when()) {
      this.#beginExclusive();
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#holder = undefined;
        reject(new Error('busy'));
        this.proceed();
      }, timeoutMs);
      this.#holder = { when, resolve, reject, timer };
    });
  }

  resume(): void {
    this.#endExclusive();
  }

  swap(next: BackendConnection, statements: Map<number, number>): void {
    if (this.#closing) return next.close();
    this.backend.close();
    this.backend = next;
    this.statementIds.moved(statements);
    this.responses = new ResponseForwarder(this, this.client, next);
    this.witness.tap?.moved();
    this.witness.meter?.use(next.backend.id);
    this.#announced = 0;
    if (this.witness.read !== undefined) this.#readAgain(this.witness.read);
    this.#endExclusive();
  }

  /** It was counted and measured when it came. */
  #readAgain(read: Buffer): void {
    this.responses.tracker.expect(Command.query);
    this.state.onCommand(Command.query, read, 0, read.length, false);
    this.toBackend(framePayload(read, 0));
  }

  backendStatementId(clientId: number): number {
    return this.statementIds.backendId(clientId, false);
  }

  /** Forwarding stands still until then; a failure ends the session. */
  exclusively(operation: () => Promise<unknown>): void {
    this.#beginExclusive();
    operation().then(
      () => this.#endExclusive(),
      (error: Error) => {
        if (this.#closing) return;
        this.#host.failed(this, error);
        this.close(lost);
      },
    );
  }

  #beginExclusive(): void {
    this.#exclusive = true;
    this.#pauseClient(Pause.exclusive);
    leave(this.backend.channel);
  }

  #endExclusive(): void {
    if (this.#closing) return;
    this.#attachClient();
    this.#attachBackend();
    this.#exclusive = false;
    // Whoever had its callbacks has heard of its end.
    if (this.client.channel.closed) return this.close();
    if (this.backend.channel.closed) return this.#lost(undefined);
    this.#resumeClient(Pause.exclusive);
    this.#settle();
  }

  #attachClient(): void {
    const { channel } = this.client;
    channel.onBytes = this.#onClientBytes;
    channel.onDrain = this.#onClientDrain;
    channel.onEnd = this.#onClientEnd;
    channel.onClosed = this.#onClientClosed;
  }

  #attachBackend(): void {
    const { channel } = this.backend;
    channel.onBytes = this.#onBackendBytes;
    channel.onDrain = this.#onBackendDrain;
    channel.onEnd = this.#onBackendEnd;
    channel.onClosed = this.#onBackendClosed;
    this.#resumeClient(Pause.backendFull);
    this.#backendPaused = this.client.channel.full;
    if (!this.#backendPaused) channel.resume();
  }

  /** Responses have ended, or what stopped the client's commands has: who waited for that has his turn. */
  #settle(): void {
    if (this.#closing || this.#exclusive) return;
    if (this.#atBoundary) {
      if (this.witness.tracked && this.state.needsArming) return this.exclusively(() => this.#host.arm(this));
      if (this.#holder?.when() === true) return this.#held(this.#holder);
      if (this.#clientEnded && !this.commands.stopped) return this.close();
    }
    this.proceed();
  }

  #held({ resolve, timer }: Holder): void {
    clearTimeout(timer);
    this.#holder = undefined;
    this.#beginExclusive();
    resolve();
  }

  // ---- What the client sends.

  readonly #onClientBytes = (chunk: Buffer, start: number, end: number): boolean => {
    try {
      return this.commands.receive(chunk, start, end);
    } catch (error) {
      this.#clientFailed(error as Error);
      return true;
    }
  };

  readonly #onClientDrain = (): void => {
    if (!this.#backendPaused || this.#exclusive) return;
    this.#backendPaused = false;
    this.backend.channel.resume();
  };

  /** What was asked before is still answered, and whether the server goes on without a listener is for the server to decide, as without us. */
  readonly #onClientEnd = (): void => {
    this.#clientEnded = true;
    if (this.#exclusive || this.commands.stopped) return;
    if (this.#atBoundary || !this.commands.atBoundary) return this.close();
    this.backend.channel.end();
  };

  readonly #onClientClosed = (): void => this.close();

  /** Whether a command may begin now. If not, `proceed` follows. */
  mayBegin(): boolean {
    if (this.#closing || this.#exclusive || this.witness.resetting > 0 || this.responses.tracker.full) return false;
    if (this.#holder === undefined) return true;
    // Commands one behind the other would never leave a boundary for who waits for one.
    if (!this.responses.tracker.idle) return false;
    if (!this.#holder.when()) return true;
    this.#held(this.#holder);
    return false;
  }

  /** A command is about to go to the backend. */
  forwards(command: number): void {
    this.commandsTotal++;
    this.responses.tracker.expect(command);
    this.witness.commandBegins(command);
  }

  toBackend(bytes: Buffer): void {
    const { meter } = this.witness;
    if (meter !== undefined) meter.bytesWritten += bytes.length;
    if (!this.backend.channel.write(bytes)) this.#pauseClient(Pause.backendFull);
  }

  commandsStop(): void {
    this.#pauseClient(Pause.stopped);
  }

  commandsGoOn(): void {
    this.#resumeClient(Pause.stopped);
  }

  /** What stopped the client's commands may be over. */
  proceed(): void {
    if (this.#closing || this.#exclusive) return;
    try {
      this.commands.proceed();
    } catch (error) {
      this.#clientFailed(error as Error);
    }
    if (this.#clientEnded && !this.#closing) this.#onClientEnd();
  }

  /** Who refused has said so himself; of a session that the server refused another user it keeps the database, and nothing else. */
  userChanged(changed: Changed | 'refused'): void {
    this.witness.reset();
    if (changed === 'refused') {
      if (this.witness.tracked) this.state.onUserChanged(this.state.database, 0, this.backend.statusFlags);
      this.witness.tap?.userChanged(changed);
      return;
    }
    const { user, database, collation, attributes, credential, lease } = changed;
    if (this.#closing) return lease?.close();
    this.client = { ...this.client, user, database, collation, attributes };
    this.credential = credential;
    if (lease !== undefined) {
      this.lease?.close();
      this.lease = lease;
      this.namespace = lease.namespace.name;
    }
    if (this.witness.tracked) this.state.onUserChanged(database, collation, this.backend.statusFlags);
    else this.state.database = database;
    this.witness.tap?.userChanged(changed);
  }

  #pauseClient(why: number): void {
    if (this.#paused === 0) this.client.channel.pause();
    this.#paused |= why;
  }

  #resumeClient(why: number): void {
    const before = this.#paused;
    this.#paused &= ~why;
    if (before !== 0 && this.#paused === 0 && !this.#closing) this.client.channel.resume();
  }

  // ---- What the backend sends.

  readonly #onBackendBytes = (chunk: Buffer, start: number, end: number): boolean => {
    this.witness.bytesCome(end - start);
    try {
      return this.responses.receive(chunk, start, end);
    } catch (error) {
      this.#host.failed(this, error as Error);
      this.close(lost);
      return true;
    }
  };

  readonly #onBackendDrain = (): void => this.#resumeClient(Pause.backendFull);

  readonly #onBackendEnd = (): void => this.#lost(undefined);

  readonly #onBackendClosed = (error?: Error): void => this.#lost(error);

  toClient(bytes: Buffer): void {
    if (this.client.channel.write(bytes) || this.#backendPaused) return;
    this.#backendPaused = true;
    this.backend.channel.pause();
  }

  fileWanted(): void {
    const { commands, responses } = this;
    if (responses.tracker.commandsPending > 1 || !commands.empty || !commands.atBoundary) {
      throw new MalformedPacketError('command', 0, 'a file, as the server has asked for, not another command');
    }
    commands.expectFile(responses.sequenceShift);
  }

  /** An error that nobody asked for has passed: the backend is about to go. */
  announced(errorCode: number): void {
    this.#announced = errorCode;
  }

  /** At least one response has ended, and all bytes so far are on their way to the client. */
  responsesEnded(): void {
    if (this.commands.stopped || this.#holder !== undefined || this.#clientEnded || this.state.needsArming) this.#settle();
  }

  // ---- The end.

  #lost(error: Error | undefined): void {
    if (this.#closing) return;
    if (this.witness.quitting) return this.close();
    // A command that was refused while it came has its answer already.
    if (!this.#atBoundary && this.witness.read === undefined) return this.close(this.responses.tracker.idle ? undefined : lost);
    // Where the server has said why, nothing is to be added.
    const failed = this.witness.read !== undefined ? lost : this.#announced === 0 ? gone : undefined;
    if (this.#clientEnded || !this.witness.tracked) return this.close(failed);
    // A read that is to be sent again has left nothing where it was.
    if (this.witness.read !== undefined) this.state.onResult(0, this.state.statusFlags, 0, 0);
    this.#beginExclusive();
    this.backend.channel.destroy();
    this.#host.recover(this, { errorCode: this.#announced, error }).then(
      (recovered) => {
        if (!recovered) this.close(failed);
      },
      (failure: Error) => {
        this.#host.failed(this, failure);
        this.close(failed);
      },
    );
  }

  #clientFailed(error: Error): void {
    if (error instanceof MalformedPacketError) return this.close({ ...(error.expected.startsWith('sequence id') ? Errors.packetsOutOfOrder : Errors.malformedPacket), message: error.message });
    this.#host.failed(this, error);
    this.close();
  }

  /** Ends both sides, at once; an error is said where what the client got last ends with a packet. */
  close(error?: ErrPacket): void {
    if (this.#closing) return;
    const atRest = this.#atBoundary && !this.#exclusive;
    const last = error !== undefined && this.responses.atPacketBoundary ? framePayload(encodeErr(error, error.message), this.responses.nextSequenceId) : undefined;
    this.#closing = true;
    if (this.#holder !== undefined) {
      clearTimeout(this.#holder.timer);
      this.#holder.reject(new Error('busy'));
      this.#holder = undefined;
    }
    this.witness.tap?.closed();
    this.lease?.close();
    if (atRest && !this.witness.quitting) this.backend.close();
    else {
      if (!this.#exclusive) leave(this.backend.channel);
      this.backend.channel.destroy();
    }
    closeSoon(this.client.channel, last);
    this.#host.closed(this);
  }
}

/** Said where nobody can know what has become of a command. */
const lost = { ...Errors.serverLost, message: 'Lost connection to server during query' };
/** Said between commands, or for one that was kept back: it was not executed. */
const gone = { ...Errors.serverGone, message: 'Server has gone away' };
