import type { Clock } from '@binnacle/cluster-state/clock';
import { Command } from '@binnacle/mysql-wire/command';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import type { ErrPacket } from '@binnacle/mysql-wire/err-packet';
import type { LexerMode } from '@binnacle/mysql-wire/lexer';
import type { NamespaceView } from './namespace-document.js';
import { judgedBytesMax, RefuseList } from './refuse-list.js';
import { type Turn, Turns, type TurnLimits } from './turns.js';

/** Why a namespace said no: label `reason` of `binnacle_proxy_refused_total`. */
export type RefusalReason = 'connections' | 'connections-per-user' | 'queries-per-second' | 'concurrent-queries' | 'digest';

/** How many connections a namespace has in a worker: plain data. */
export interface NamespaceUsage {
  readonly connections: number;
  /** Only where they are limited by user. */
  readonly users?: Readonly<Record<string, number>>;
}

export interface NamespaceDeps {
  readonly clock: Clock;
  readonly refused: (namespace: string, reason: RefusalReason) => void;
}

/** Commands that make a backend run a statement; the others neither count nor wait. */
const counted: ReadonlySet<number> = new Set([Command.query, Command.stmtPrepare, Command.stmtExecute, Command.stmtBulkExecute]);

/**
 * A tenant in one worker. It outlives changes of its document: sessions keep theirs, with the limits of now.
 *
 * Limits hold for the whole proxy node. What the other workers have is known from their last report (`setOthers`): connections are counted
 * together, rates and concurrency are divided in the proportion of the connections, so that no worker has to ask another one. So a limit may
 * be passed by what opens in two workers between two reports, which are a tenth of a second apart.
 */
export class Namespace {
  readonly name: string;
  readonly #deps: NamespaceDeps;
  readonly #users = new Map<string, number>();
  readonly #turns: Turns;
  #view: NamespaceView;
  #refuse: RefuseList;
  #connections = 0;
  #others: NamespaceUsage = { connections: 0 };
  /** Whether `Lease.begin` has to be asked before a statement goes on: false costs nothing. */
  limited = false;

  constructor(view: NamespaceView, deps: NamespaceDeps) {
    this.name = view.namespace;
    this.#view = view;
    this.#deps = deps;
    this.#refuse = new RefuseList(view.refuseDigests);
    this.#turns = new Turns(deps.clock, this.#turnLimits(), (limit) => this.#limitReached(limit === 'concurrent_queries' ? 'concurrent-queries' : 'queries-per-second', limit));
    this.update(view);
  }

  get view(): NamespaceView {
    return this.#view;
  }

  /** Whether `refusal` has to be asked of each statement: only then is its text needed before it goes on. */
  get refusesStatements(): boolean {
    return this.#refuse.size > 0;
  }

  get connections(): number {
    return this.#connections;
  }

  /** Statements that wait for their turn. */
  get waiting(): number {
    return this.#turns.waiting;
  }

  update(view: NamespaceView): void {
    if (view.refuseDigests.join() !== this.#view.refuseDigests.join()) this.#refuse = new RefuseList(view.refuseDigests);
    this.#view = view;
    this.limited = view.limits.queriesPerSecond > 0 || view.limits.concurrentQueries > 0;
    this.#turns.limit(this.#turnLimits());
  }

  setOthers(others: NamespaceUsage): void {
    this.#others = others;
    if (this.limited) this.#turns.limit(this.#turnLimits());
  }

  usage(): NamespaceUsage {
    return { connections: this.#connections, ...(this.#view.limits.connectionsPerUser > 0 && { users: Object.fromEntries(this.#users) }) };
  }

  /**
   * For a client that has said who it is and is not logged in yet; a lease has to be closed, whatever becomes of the login.
   * @param instead of the same connection, and closed if this one is used: it does not count
   */
  admit(user: string, instead?: Lease): Lease | ErrPacket {
    const { connections, connectionsPerUser } = this.#view.limits;
    const own = instead?.namespace === this ? 1 : 0;
    const ownOfUser = instead?.user === user ? own : 0;
    if (connections > 0 && this.#connections - own + this.#others.connections >= connections) {
      this.#deps.refused(this.name, 'connections');
      return { ...Errors.tooManyConnections, message: 'Too many connections' };
    }
    if (connectionsPerUser > 0 && (this.#users.get(user) ?? 0) - ownOfUser + (this.#others.users?.[user] ?? 0) >= connectionsPerUser) {
      this.#deps.refused(this.name, 'connections-per-user');
      return { ...Errors.tooManyUserConnections, message: `User ${user} already has more than 'max_user_connections' active connections` };
    }
    this.#connections++;
    this.#users.set(user, (this.#users.get(user) ?? 0) + 1);
    if (this.limited && this.#others.connections > 0) this.#turns.limit(this.#turnLimits());
    return new Lease(this, user, this.#turns);
  }

  /**
   * The error for a text with a statement on the refuse list. Also to be asked before executing what was prepared earlier.
   * @param text undefined: of `judgedBytesMax` or more, which may have anything in it
   */
  refusal(text: string | undefined, mode: LexerMode): ErrPacket | undefined {
    if (this.#refuse.size === 0 || (text !== undefined && !this.#refuse.has(text, mode))) return undefined;
    this.#deps.refused(this.name, 'digest');
    const what = text === undefined ? `A statement of ${judgedBytesMax} bytes or more is too long for` : 'This statement is on';
    return { ...Errors.notAllowedCommand, message: `${what} the refuse list of namespace '${this.name}'` };
  }

  /** For leases. */
  closed(user: string): void {
    this.#connections--;
    const left = (this.#users.get(user) ?? 1) - 1;
    if (left > 0) this.#users.set(user, left);
    else this.#users.delete(user);
  }

  #turnLimits(): TurnLimits {
    const { queriesPerSecond, queriesBurst, concurrentQueries, queueMax, queueWaitMs } = this.#view.limits;
    const share = this.#others.connections === 0 ? 1 : Math.max(this.#connections, 1) / (Math.max(this.#connections, 1) + this.#others.connections);
    return {
      perSecond: queriesPerSecond > 0 ? queriesPerSecond * share : Infinity,
      // Less than one token would never let anything through.
      burst: queriesPerSecond > 0 ? Math.max(1, (queriesBurst || queriesPerSecond) * share) : Infinity,
      concurrent: concurrentQueries > 0 ? Math.max(1, Math.floor(concurrentQueries * share)) : Infinity,
      queueMax,
      queueWaitMs,
    };
  }

  #limitReached(reason: RefusalReason, resource: string): ErrPacket {
    this.#deps.refused(this.name, reason);
    const { limits } = this.#view;
    const value = reason === 'concurrent-queries' ? limits.concurrentQueries : limits.queriesPerSecond;
    return { ...Errors.userLimitReached, message: `Namespace '${this.name}' has exceeded the '${resource}' resource (current value: ${value})` };
  }
}

/** A client's place in its namespace. */
export class Lease {
  #running = false;
  #turn: Turn | undefined;
  #open = true;

  constructor(
    readonly namespace: Namespace,
    readonly user: string,
    private readonly turns: Turns,
  ) {}

  /**
   * Before a command goes to the backend, to be asked only while `namespace.limited`. Undefined: go on at once. A `Turn`: wait for `done`,
   * which says the same later. An error: tell the client, nothing was counted.
   */
  begin(command: number, inTransaction: boolean): ErrPacket | Turn | undefined {
    if (!counted.has(command) || this.#running) return undefined;
    const answer = this.turns.begin(inTransaction, () => this.#granted());
    if (answer === undefined) this.#running = true;
    else if ('cancel' in answer) this.#turn = answer;
    return answer;
  }

  /** After every command, whether it was counted or not. */
  end(): void {
    if (!this.#running) return;
    this.#running = false;
    this.turns.end();
  }

  /** Once and for all; calling it again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#turn?.cancel();
    this.end();
    this.namespace.closed(this.user);
  }

  #granted(): void {
    this.#turn = undefined;
    this.#running = true;
  }
}
