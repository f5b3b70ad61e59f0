import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { hasStatementId } from '@binnacle/mysql-wire/command-tracker';
import { frameCommand, openBackend, ReplayConnection, type Response } from '../src/traffic/replay/replay-connection.js';
import { replayTarget, type ReplayTarget } from '../src/traffic/replay/replay-target.js';
import type { CapturedResult, ReplayRecord, TrafficSource } from '../src/traffic/replay/traffic-source.js';

export function targetAt(port: number, user = 'root', password = 'root'): ReplayTarget {
  return replayTarget({ host: '127.0.0.1', port, tls: false }, user, password, 10_000);
}

/** Executes commands on a server, one after the other, and writes down what a capture would. Time is counted, not measured. */
export class HandWrittenCapture implements TrafficSource {
  readonly hasResults: boolean = true;
  readonly written: ReplayRecord[] = [];
  readonly came: CapturedResult[] = [];
  readonly #connections = new Map<number, { connection: ReplayConnection; ordinal: number }>();
  #timeUs = 1_700_000_000_000_000;

  constructor(
    private readonly target: ReplayTarget,
    /** Between two commands. */
    readonly stepUs = 1_000,
  ) {}

  async *records(): AsyncGenerator<ReplayRecord> {
    yield* this.written;
  }

  async *results(): AsyncGenerator<CapturedResult> {
    yield* this.came;
  }

  async query(connectionId: number, text: string): Promise<Response> {
    return (await this.command(connectionId, Command.query, Buffer.from(text)))!;
  }

  /** Gives the id. */
  async prepare(connectionId: number, text: string): Promise<number> {
    return (await this.command(connectionId, Command.stmtPrepare, Buffer.from(text)))!.statementId;
  }

  /** With integers. @param flags 1: a cursor */
  async execute(connectionId: number, id: number, values: readonly number[], flags = 0): Promise<Response> {
    const head = Buffer.alloc(9);
    head.writeUInt32LE(id, 0);
    head[4] = flags;
    head.writeUInt32LE(1, 5);
    const types = values.flatMap(() => [8, 0]);
    const numbers = values.map((value) => {
      const number = Buffer.alloc(8);
      number.writeBigInt64LE(BigInt(value));
      return number;
    });
    const parameters = values.length === 0 ? [] : [Buffer.alloc((values.length + 7) >> 3), Buffer.from([1, ...types]), ...numbers];
    return (await this.command(connectionId, Command.stmtExecute, Buffer.concat([head, ...parameters])))!;
  }

  async fetch(connectionId: number, id: number, rows: number): Promise<Response> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32LE(id, 0);
    payload.writeUInt32LE(rows, 4);
    return (await this.command(connectionId, Command.stmtFetch, payload))!;
  }

  /** @param more lines of a record that are not the command's own */
  async command(connectionId: number, command: number, payload: Buffer, more: Partial<ReplayRecord> = {}): Promise<Response | undefined> {
    const known = this.#connections.get(connectionId);
    const session = known ?? { connection: new ReplayConnection(await openBackend(this.target, 45, Capability.multiStatements), () => {}), ordinal: 0 };
    this.#connections.set(connectionId, session);
    session.ordinal++;
    this.#timeUs += this.stepUs;
    const timeUs = this.#timeUs;
    const first = known === undefined ? { user: 'app' } : {};
    const asked = hasStatementId(command) ? { capturedStatementId: payload.readUInt32LE(0) } : {};
    const response = await this.#execute(session.connection, command, payload);
    const prepared = command === Command.stmtPrepare && response?.errorCode === 0 ? { capturedStatementId: response.statementId } : {};
    this.written.push({ source: 0, timeUs, connectionId, command, payload, ...first, ...asked, ...prepared, ...more });
    if (response === undefined) return undefined;
    const { errorCode, rows, affectedRows, ordered, unordered, latencyUs } = response;
    this.came.push({ source: 0, endTimeUs: timeUs + 500, connectionId, ordinal: session.ordinal, errorCode, rows, affectedRows, ordered, unordered, latencyUs });
    return response;
  }

  async #execute(connection: ReplayConnection, command: number, payload: Buffer): Promise<Response | undefined> {
    if (command === Command.quit) return void connection.close();
    if (!isAnswered(command)) return void connection.sendUnanswered(frameCommand(command, payload));
    return new Promise((resolve, reject) => {
      connection.onLost = reject;
      connection.send(frameCommand(command, payload), command, resolve);
    });
  }

  async end(): Promise<void> {
    for (const connectionId of this.#connections.keys()) await this.command(connectionId, Command.quit, Buffer.alloc(0));
  }

}

