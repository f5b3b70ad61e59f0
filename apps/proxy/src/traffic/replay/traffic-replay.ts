import { setImmediate as nextTurn } from 'node:timers/promises';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { Command, isAnswered } from '@binnacle/mysql-wire/command';
import { SomeAtATime } from '@binnacle/node-kit/some-at-a-time';
import { ConnectionLost } from '../../connection/mysql-error.js';
import type { ComparedCommand } from '../report/report-builder.js';
import { isOnlyForState, type ReplayFilters, type SkipReason } from './command-rules.js';
import { frameCommand, openBackend, ReplayConnection, type Response } from './replay-connection.js';
import { ReplayPace } from './replay-pace.js';
import { ReplaySession, type QueuedCommand, type ReplayHost } from './replay-session.js';
import type { ReplayTarget, TargetFacts } from './replay-target.js';
import { ReplayedStatements, type ReplayedStatement } from './replayed-statement.js';
import { ResultStreams } from './result-streams.js';
import type { Replayed } from './result-joiner.js';
import type { ReplayRecord, TrafficSource } from './traffic-source.js';

export interface TrafficReplayOptions {
  readonly source: TrafficSource;
  readonly target: ReplayTarget;
  readonly facts: TargetFacts;
  readonly speed: number;
  readonly readOnly: boolean;
  readonly filters: ReplayFilters;
  /** Only commands later than `afterUs`, and none later than `beforeUs`. */
  readonly afterUs?: number;
  readonly beforeUs?: number;
  readonly report: (command: ComparedCommand) => void;
  /** At once; what is under way may end. */
  readonly signal: AbortSignal;
  readonly connectionsMax?: number;
  readonly waitingMax?: number;
  readonly commandTimeoutMs?: number;
}

/** What a replay did, beside what it has reported. */
export interface ReplayCounts {
  commands: number;
  sent: number;
  skipped: number;
  /** With an error now. */
  failed: number;
  connections: number;
  firstUs: number | undefined;
  lastUs: number;
}

/** What a session costs here is some 20 KB. */
const connectionsMaxDefault = 10_000;
/** Commands that wait for their turn: with 200 bytes each 20 MB. */
const waitingMaxDefault = 50_000;
const waitingBytesMax = 64 * 1_048_576;
/** A session that lags holds everybody back in the end: otherwise it would lag without bounds. */
const waitingOfSessionMax = 5_000;
const commandTimeoutMsDefault = 3_600_000;
const dialsAtOnceMax = 64;
/** Without a wait the event loop gets its turn after so many commands. */
const turnCommands = 128;
const sweepMs = 1_000;
/** What is under way when a replay is stopped. */
const stopTimeoutMs = 10_000;

const ignore = (): void => {};

interface Context {
  readonly command: number;
  readonly statement: ReplayedStatement;
  readonly timeUs: number;
}

/** Sends a capture to a server once more and compares what comes. `run` may be called once. */
export class TrafficReplay implements ReplayHost {
  readonly counts: ReplayCounts = { commands: 0, sent: 0, skipped: 0, failed: 0, connections: 0, firstUs: undefined, lastUs: 0 };
  readonly facts: TargetFacts;
  readonly statements: ReplayedStatements;
  readonly pace: ReplayPace;
  readonly filters: ReplayFilters;
  readonly readOnly: boolean;
  /** Why it ended before its end; empty: it did not. */
  cutOff = '';
  readonly #options: TrafficReplayOptions;
  readonly #sessions: Map<number, ReplaySession>[] = [];
  readonly #ordinals: Map<number, number>[] = [];
  readonly #active = new Set<ReplaySession>();
  readonly #dials = new SomeAtATime(dialsAtOnceMax);
  readonly #results: ResultStreams<Context>;
  #open = 0;
  #waiting = 0;
  #waitingBytes = 0;
  // Whoever reads waits for one of these at a time.
  #wakeSleeper = ignore;
  #wakeForRoom = ignore;
  #wakeDrained = ignore;

  constructor(options: TrafficReplayOptions) {
    this.#options = options;
    this.facts = options.facts;
    this.filters = options.filters;
    this.readOnly = options.readOnly;
    this.statements = new ReplayedStatements(options.facts.storedFunctions);
    this.pace = new ReplayPace(options.speed, () => performance.now());
    this.#results = new ResultStreams(options.source, (then, replayed, isState) => this.#compared(then, replayed, isState));
  }

  /** Connections that are open now. */
  get connectionsOpen(): number {
    return this.#open;
  }

  /** Rejects with nothing that a replay meets: that is in `cutOff`. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    const onAbort = (): void => this.stop(signal.reason instanceof Error ? signal.reason.message : 'canceled');
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const sweep = setInterval(() => this.#sweep(), sweepMs);
    try {
      await this.#read().catch((error: Error) => this.stop(error.message));
      await this.#drained();
      await this.#results.upTo(this.cutOff === '' ? Infinity : this.counts.lastUs)?.catch((error: Error) => this.stop(error.message));
      this.#results.end();
    } finally {
      clearInterval(sweep);
      signal.removeEventListener('abort', onAbort);
      for (const sessions of this.#sessions) for (const session of sessions?.values() ?? []) session.end();
      await this.#results.close();
    }
  }

  /** What waits is dropped. The first reason counts. */
  stop(reason: string): void {
    if (this.cutOff !== '') return;
    this.cutOff = reason;
    for (const sessions of this.#sessions) for (const session of [...(sessions?.values() ?? [])]) session.stop();
    this.#wakeSleeper();
    this.#wakeForRoom();
    this.#wakeDrained();
  }

  /** A place in the files cannot be read: what follows is sent and not compared. */
  damaged(): void {
    this.#results.lose();
  }

  async #read(): Promise<void> {
    let sinceTurn = 0;
    for await (const record of this.#options.source.records()) {
      if (this.cutOff !== '') return;
      const ordinal = this.#ordinalOf(record);
      if (!this.#isWanted(record)) continue;
      // Before the wait: what had ended by then can be compared while it goes on.
      const results = this.#results.upTo(record.timeUs);
      if (results !== undefined) await results;
      const due = this.#due(record.timeUs);
      if (due !== undefined || ++sinceTurn >= turnCommands) {
        await (due ?? nextTurn());
        sinceTurn = 0;
      }
      const session = this.#sessionOf(record);
      if (!this.#hasRoom(session)) await this.#room(session);
      if (this.cutOff !== '') return;
      this.#enqueue(session, record, ordinal);
    }
  }

  #isWanted({ timeUs }: ReplayRecord): boolean {
    const { afterUs = -Infinity, beforeUs = Infinity } = this.#options;
    return timeUs > afterUs && timeUs <= beforeUs;
  }

  #ordinalOf({ source, connectionId, ordinal, command }: ReplayRecord): number {
    const ordinals = (this.#ordinals[source] ??= new Map());
    const counted = ordinal ?? (ordinals.get(connectionId) ?? 0) + 1;
    if (command === Command.quit) ordinals.delete(connectionId);
    else ordinals.set(connectionId, counted);
    return counted;
  }

  #due(timeUs: number): Promise<void> | undefined {
    const waitMs = this.pace.dueMs(timeUs) - performance.now();
    return waitMs < 1 ? undefined : this.#sleep(waitMs);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1));
      this.#wakeSleeper = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #hasRoom(session: ReplaySession): boolean {
    return this.#waiting < (this.#options.waitingMax ?? waitingMaxDefault) && this.#waitingBytes < waitingBytesMax && session.waiting < waitingOfSessionMax;
  }

  async #room(session: ReplaySession): Promise<void> {
    while (this.cutOff === '' && !this.#hasRoom(session)) await new Promise<void>((resolve) => void (this.#wakeForRoom = resolve));
    this.#wakeForRoom = ignore;
  }

  /** Until every session is idle; once the replay is stopped, not for long. */
  async #drained(): Promise<void> {
    let untilMs = Infinity;
    while (this.#active.size > 0 && performance.now() < untilMs) {
      if (this.cutOff !== '' && untilMs === Infinity) untilMs = performance.now() + stopTimeoutMs;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, sweepMs);
        this.#wakeDrained = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #sessionOf({ source, connectionId, collation, capabilities }: ReplayRecord): ReplaySession {
    const sessions = (this.#sessions[source] ??= new Map());
    let session = sessions.get(connectionId);
    if (session === undefined) {
      const agreed = capabilities ?? Capability.multiStatements;
      session = new ReplaySession(source, connectionId, this, collation ?? utf8mb4GeneralCi, this.readOnly ? agreed & ~Capability.multiStatements : agreed);
      sessions.set(connectionId, session);
      this.#results.begin(source, connectionId);
      this.counts.connections++;
    }
    return session;
  }

  #enqueue(session: ReplaySession, record: ReplayRecord, ordinal: number): void {
    const { timeUs, command, payload, capturedStatementId, preparedText, user } = record;
    const frame = frameCommand(command, payload);
    this.#waiting++;
    this.#waitingBytes += frame.length;
    this.counts.commands++;
    this.counts.firstUs ??= timeUs;
    this.counts.lastUs = Math.max(this.counts.lastUs, timeUs);
    this.#active.add(session);
    session.enqueue({ timeUs, ordinal, command, frame, capturedStatementId, preparedText: preparedText && Buffer.from(preparedText), user });
  }

  #sweep(): void {
    const timeoutMs = this.#options.commandTimeoutMs ?? commandTimeoutMsDefault;
    for (const session of [...this.#active]) session.giveUpIfSince(performance.now() - timeoutMs);
  }

  // What sessions ask and tell.

  async open(collation: number, capabilities: number): Promise<ReplayConnection> {
    const { connectionsMax = connectionsMaxDefault, target } = this.#options;
    if (this.#open >= connectionsMax) {
      this.stop(`the capture has more than ${connectionsMax} connections at once, which is the most that are replayed`);
      throw new ConnectionLost('too many connections');
    }
    this.#open++;
    try {
      const backend = await this.#dials.run(() => openBackend(target, collation, capabilities));
      return new ReplayConnection(backend, () => void this.#open--);
    } catch (error) {
      this.#open--;
      throw error;
    }
  }

  threadOf(source: number, connectionId: number): number | undefined {
    return this.#sessions[source]?.get(connectionId)?.threadId;
  }

  dequeued({ frame }: QueuedCommand): void {
    this.#waiting--;
    this.#waitingBytes -= frame.length;
    this.#wakeForRoom();
  }

  responded({ source, connectionId }: ReplaySession, { ordinal, command, timeUs }: QueuedCommand, statement: ReplayedStatement, response: Response): void {
    const { errorCode, rows, affectedRows, ordered, unordered, latencyUs } = response;
    this.counts.sent++;
    if (errorCode !== 0) this.counts.failed++;
    const now = { connectionId, ordinal, errorCode, rows, affectedRows, ordered, unordered, latencyUs };
    this.#results.now(source, connectionId, { ordinal, now, context: { command, statement, timeUs } });
  }

  skipped({ source, connectionId }: ReplaySession, { ordinal, command, timeUs }: QueuedCommand, statement: ReplayedStatement, reason: SkipReason): void {
    this.counts.skipped++;
    this.#results.skipped(source, connectionId, ordinal);
    if (!isAnswered(command) || isOnlyForState(command, statement, this.filters)) return;
    const { digest, text, hasOrder, changesByNature } = statement;
    this.#options.report({ digest, text, hasOrder, changesByNature, skipped: reason, atMs: timeUs / 1_000 });
  }

  idle(session: ReplaySession): void {
    this.#active.delete(session);
    if (this.cutOff !== '') session.end();
    if (this.#active.size === 0) this.#wakeDrained();
  }

  ended(session: ReplaySession): void {
    this.#active.delete(session);
    this.#sessions[session.source]?.delete(session.connectionId);
    this.#results.over(session.source, session.connectionId);
    if (this.#active.size === 0) this.#wakeDrained();
  }

  #compared(then: ComparedCommand['then'], { now, context }: Replayed<Context>, isBeforeResults: boolean): void {
    const { command, statement, timeUs } = context;
    const { digest, text, hasOrder, changesByNature } = statement;
    // What brings a session into the state that it had when the capture began was never executed then.
    const isState = isBeforeResults && now.errorCode === 0 && (command === Command.initDb || command === Command.stmtPrepare || statement.kind === 'set' || statement.kind === 'use');
    if (then === undefined && isState && this.#options.source.hasResults) return;
    if (isOnlyForState(command, statement, this.filters)) return;
    this.#options.report({ digest, text, hasOrder, changesByNature, then, now, atMs: timeUs / 1_000 });
  }
}
