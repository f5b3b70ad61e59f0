import { agreed, Capability, type Capabilities } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { headerBytes, payloadBytesMax, writeHeader, framePayload } from '@binnacle/mysql-wire/packet-header';
import { ResponseEvent, ResponseTracker } from '@binnacle/mysql-wire/response-tracker';
import { BackendConnection } from '../../connection/backend-connection.js';
import { credentialLogin } from '../../connection/credential-login.js';
import { Deadline } from '../../connection/deadline.js';
import { GreetedBackend } from '../../connection/greeted-backend.js';
import { ConnectionLost } from '../../connection/mysql-error.js';
import { RowChecksum, type RowsSeen } from '../capture/row-checksum.js';
import type { ReplayTarget } from './replay-target.js';

/** Of one command. */
export interface Response extends RowsSeen {
  readonly errorCode: number;
  readonly affectedRows: number;
  readonly latencyUs: number;
  /** Of COM_STMT_PREPARE that went well. */
  readonly statementId: number;
}

/** Where the statement id of a framed command is. */
export const statementIdOffset = headerBytes + 1;

/** A command as it goes over the wire; what it is made of is copied. */
export function frameCommand(command: number, payload: Uint8Array): Buffer {
  const length = payload.length + 1;
  if (length >= payloadBytesMax) return framePayload(Buffer.concat([Buffer.from([command]), payload]), 0);
  const frame = Buffer.allocUnsafe(headerBytes + length);
  writeHeader(frame, 0, length, 0);
  frame[headerBytes] = command;
  frame.set(payload, headerBytes + 1);
  return frame;
}

/** What every session asks for, where the server has it. Without query attributes: captured texts have none. */
const always =
  Capability.protocol41 | Capability.transactions | Capability.multiResults | Capability.psMultiResults | Capability.deprecateEof | Capability.longFlag;
/** Of what a captured client had agreed upon, what changes results: what was an error then, in a second statement, must not be executed now. */
const kept = Capability.foundRows | Capability.ignoreSpace | Capability.noSchema | Capability.multiStatements;
const bulkOperations = 1 << 2;

/** Logs in; rejects with `MysqlError` and `ConnectionLost`. */
export async function openBackend(target: ReplayTarget, collation: number, capabilities: number): Promise<BackendConnection> {
  const { backend, dial, timeoutMs } = target;
  const deadline = new Deadline(timeoutMs, () => new ConnectionLost(`${backend.id} did not let us in within ${timeoutMs} ms`));
  let greeted: GreetedBackend | undefined;
  try {
    greeted = await GreetedBackend.dial(backend, dial, deadline);
    const wanted: Capabilities = { capabilities: (always | (capabilities & kept)) >>> 0, mariadbCapabilities: bulkOperations };
    const account = {
      user: target.user, database: '', collation, attributes: [['program_name', 'binnacle-replay']] as const, capabilities: agreed(wanted, greeted.handshake),
    };
    const ok = await credentialLogin(greeted, account, { kind: 'password', password: target.password });
    return new BackendConnection(greeted.finish(ok));
  } catch (error) {
    greeted?.giveUp();
    throw error;
  } finally {
    deadline.over();
  }
}

/** One command at a time, whose rows are seen and not kept. */
export class ReplayConnection {
  readonly threadId: number;
  /** As the server said last. */
  statusFlags: number;
  /** The connection is over, and the command under way has no response. Called once, unless it was closed here. */
  onLost: () => void = () => {};
  readonly #backend: BackendConnection;
  readonly #tracker: ResponseTracker;
  readonly #checksum = new RowChecksum();
  #onResponse: ((response: Response) => void) | undefined;
  #sentMs = 0;
  #affectedRows = 0;
  #isOver = false;

  /** @param onOver called once, when nothing more will come of it */
  constructor(
    backend: BackendConnection,
    private readonly onOver: () => void,
  ) {
    this.#backend = backend;
    this.threadId = backend.threadId;
    this.statusFlags = backend.statusFlags;
    this.#tracker = new ResponseTracker(backend.capabilities);
    this.#tracker.rows = this.#checksum;
    const { channel } = backend;
    channel.onBytes = (chunk, start, end) => this.#receive(chunk, start, end);
    channel.onDrain = () => {};
    channel.onEnd = () => this.#lost();
    channel.onClosed = () => this.#lost();
    channel.resume();
  }

  /** Since when a command has been under way, by `performance.now()`; undefined: none is. */
  get busySinceMs(): number | undefined {
    return this.#onResponse === undefined ? undefined : this.#sentMs;
  }

  send(frame: Buffer, command: number, onResponse: (response: Response) => void): void {
    this.#onResponse = onResponse;
    this.#affectedRows = 0;
    this.#tracker.expect(command);
    this.#sentMs = performance.now();
    this.#backend.channel.write(frame);
    // A connection that was lost while nobody was waiting says so here.
    if (this.#backend.channel.closed) queueMicrotask(() => this.#lost());
  }

  /** Of the commands that are never answered. */
  sendUnanswered(frame: Buffer): void {
    this.#backend.channel.write(frame);
  }

  #receive(chunk: Buffer, start: number, end: number): boolean {
    const tracker = this.#tracker;
    try {
      tracker.feed(chunk, start, end);
      for (let event = tracker.next(); event !== ResponseEvent.none; event = tracker.next()) this.#on(event);
    } catch {
      this.#lost();
    }
    return false;
  }

  #on(event: ResponseEvent): void {
    const tracker = this.#tracker;
    if (event === ResponseEvent.result) this.#affectedRows += tracker.affectedRows;
    else if (event === ResponseEvent.infile) {
      // A file of LOAD DATA LOCAL was never captured: an empty one stands for it.
      const empty = Buffer.alloc(headerBytes);
      writeHeader(empty, 0, 0, tracker.scanner.sequenceId + 1);
      this.#backend.channel.write(empty);
    } else if (event === ResponseEvent.complete) this.#completed();
  }

  #completed(): void {
    const tracker = this.#tracker;
    const onResponse = this.#onResponse;
    this.#onResponse = undefined;
    if (tracker.statusFlags !== -1) this.statusFlags = tracker.statusFlags;
    const latencyUs = Math.round((performance.now() - this.#sentMs) * 1_000);
    const { errorCode, statementId } = tracker;
    onResponse?.({ ...this.#checksum.end(), errorCode, affectedRows: this.#affectedRows + tracker.affectedRows, latencyUs, statementId });
  }

  #lost(): void {
    if (!this.#over()) return;
    this.#backend.channel.destroy();
    this.onLost();
  }

  /** What is under way will not come to an end. */
  fail(): void {
    this.#lost();
  }

  /** At a command boundary: says good-bye. Otherwise `destroy`. */
  close(): void {
    if (this.#over()) this.#backend.close();
  }

  destroy(): void {
    if (this.#over()) this.#backend.channel.destroy();
  }

  #over(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.onOver();
    return true;
  }
}

export const resetCommand = frameCommand(Command.resetConnection, Buffer.alloc(0));
