import type { Clock } from '@binnacle/cluster-state/clock';
import { kindOf } from '../connection/backend-connection.js';
import type { Backend, BackendGreeting, BackendKind, BackendLoad } from './backend.js';
import { addressOf, type Discovered } from './discovery.js';
import { checkHealth, type Checked, type CheckOptions } from './health-check.js';
import { LoadHistory } from './load-history.js';
import type { ServerFacts } from './server-facts.js';
import { hasSigningCertificate, readLoad } from './status-port.js';
import { Steadiness } from './steadiness.js';

export interface CheckerOptions extends CheckOptions {
  readonly intervalMs: number;
  /** Further attempts after one that failed, `retryMs` apart, before the server counts as dead. */
  readonly retries: number;
  readonly retryMs: number;
}

export interface CheckerDeps {
  readonly clock: Clock;
  readonly options: () => CheckerOptions;
  /** Sessions of this node there. */
  readonly sessions: (id: string) => number;
  /** Something that the view shows has changed. */
  readonly changed: (checker: BackendChecker) => void;
}

/** What is known of one server. */
export interface CheckerState {
  readonly healthy: boolean;
  /** Why not; empty if healthy. Before the first check has ended: "not checked yet". */
  readonly reason: string;
  readonly kind: BackendKind;
  readonly full: boolean;
  /** The last attempt failed, and the next ones will show whether it is dead. */
  readonly suspect: boolean;
  readonly notice: string;
  readonly greeting?: BackendGreeting;
  readonly facts?: ServerFacts;
  readonly storedFunctions?: ReadonlySet<string>;
  /** False: sessions cannot leave it by TiDB's tokens. */
  readonly signsTokens?: boolean;
  /** Of the last check that succeeded. */
  readonly pingMs?: number;
  /** How long the last round took, attempts and pauses included. */
  readonly roundMs?: number;
  /** Wall clock. */
  readonly checkedAtMs?: number;
}

const loadIntervalMs = 10_000;
const loadTimeoutMs = 5_000;
const functionsIntervalMs = 300_000;
const certificateIntervalMs = 60_000;

/** Checks one server over and over, in its own rhythm: what hangs or is slow here holds up no other server's checks. */
export class BackendChecker {
  readonly id: string;
  readonly #deps: CheckerDeps;
  readonly #history = new LoadHistory();
  readonly #steadiness = new Steadiness();
  #found: Discovered;
  #state: CheckerState = { healthy: false, reason: 'not checked yet', kind: 'unknown', full: false, suspect: false, notice: '' };
  #running = false;
  #checking = false;
  #soon = false;
  #cancel: () => void = () => {};
  #cancelLoad: () => void = () => {};
  #cancelCertificate: () => void = () => {};
  #functionsAtMs = -Infinity;

  constructor(found: Discovered, deps: CheckerDeps) {
    this.id = addressOf(found.host, found.port);
    this.#found = found;
    this.#deps = deps;
  }

  get state(): CheckerState {
    return this.#state;
  }

  get load(): BackendLoad | undefined {
    return this.#history.load(this.#deps.clock.monotonicMs());
  }

  get steady(): boolean {
    return this.#steadiness.isSteady(this.#deps.clock.monotonicMs());
  }

  /** Labels and the status port may change while it stays the same server. */
  set found(found: Discovered) {
    this.#found = found;
  }

  /** The same functions as those it has, in an object that others have too. */
  share(storedFunctions: ReadonlySet<string>): void {
    this.#state = { ...this.#state, storedFunctions };
  }

  start(): void {
    this.#running = true;
    void this.#round();
    void this.#readLoad();
    void this.#readCertificate();
  }

  stop(): void {
    this.#running = false;
    this.#cancel();
    this.#cancelLoad();
    this.#cancelCertificate();
  }

  /** Somebody had trouble with it: look now, and not when it is time again. */
  checkSoon(): void {
    if (!this.#running) return;
    if (this.#checking) {
      this.#soon = true;
      return;
    }
    this.#cancel();
    void this.#round();
  }

  async #round(): Promise<void> {
    const { clock, options } = this.#deps;
    const startMs = clock.monotonicMs();
    this.#checking = true;
    for (let attempt = 0; ; attempt++) {
      const { retries, retryMs } = options();
      const outcome = await this.#check();
      if (!this.#running) return;
      if (typeof outcome !== 'string' || attempt >= retries) {
        this.#checking = false;
        this.#learn(outcome, clock.monotonicMs() - startMs);
        break;
      }
      this.#suspect();
      await this.#wait(retryMs);
      if (!this.#running) return;
    }
    const soon = this.#soon;
    this.#soon = false;
    const pauseMs = soon ? 0 : Math.max(0, options().intervalMs - (clock.monotonicMs() - startMs));
    this.#cancel = clock.after(pauseMs, () => void this.#round());
  }

  /** Gives why not, if it is not healthy. */
  async #check(): Promise<Checked | string> {
    const nowMs = this.#deps.clock.monotonicMs();
    const { greeting } = this.#state;
    const known = { functionsDue: nowMs - this.#functionsAtMs >= functionsIntervalMs, ...(greeting !== undefined && this.#state.healthy && { greeting }) };
    try {
      const checked = await checkHealth(this.#asBackend(), this.#found.status, known, this.#deps.options());
      if (known.functionsDue && checked.facts !== undefined) this.#functionsAtMs = nowMs;
      return checked;
    } catch (error) {
      const { message, name } = error as Error;
      return message || name;
    }
  }

  #learn(outcome: Checked | string, roundMs: number): void {
    const before = this.#state;
    const nowMs = this.#deps.clock.monotonicMs();
    const timed = { roundMs, checkedAtMs: this.#deps.clock.nowMs() };
    if (typeof outcome === 'string') {
      if (before.healthy) this.#steadiness.failed(nowMs);
      this.#history.clear();
      // After a restart its functions may be others.
      this.#functionsAtMs = -Infinity;
      this.#state = { ...before, ...timed, healthy: false, full: false, suspect: false, reason: outcome };
    } else {
      if (!before.healthy) this.#steadiness.recovered(nowMs);
      const { greeting, full, notice, pingMs, facts, storedFunctions } = outcome;
      const functionsDiffer = storedFunctions !== undefined && !areSame(storedFunctions, before.storedFunctions);
      const learnt = { ...(facts !== undefined && { facts }), ...(functionsDiffer && { storedFunctions }) };
      this.#state = { ...before, ...timed, ...learnt, greeting, full, notice, pingMs, kind: kindOf(greeting.serverVersion), healthy: true, suspect: false, reason: '' };
    }
    if (before.storedFunctions !== this.#state.storedFunctions || shown(before) !== shown(this.#state)) this.#deps.changed(this);
  }

  /** New sessions try the others first from now on: one that hangs would keep each of them waiting. */
  #suspect(): void {
    if (!this.#state.healthy || this.#state.suspect) return;
    this.#state = { ...this.#state, suspect: true };
    this.#deps.changed(this);
  }

  #asBackend(): Backend {
    const { host, port, cluster, labels = {} } = this.#found;
    const { kind, healthy, reason } = this.#state;
    return { id: this.id, host, port, cluster, kind, healthy, reason, draining: false, readOnly: false, group: this.id, labels };
  }

  async #readLoad(): Promise<void> {
    const { clock, options, sessions } = this.#deps;
    const { status } = this.#found;
    if (status !== undefined && this.#state.healthy) {
      const tls = options().statusTls;
      const sample = await readLoad({ ...status, timeoutMs: loadTimeoutMs, ...(tls !== undefined && { tls }) }, clock.monotonicMs()).catch(() => undefined);
      if (!this.#running) return;
      if (sample !== undefined) this.#history.add(sample, sessions(this.id));
    }
    this.#cancelLoad = clock.after(loadIntervalMs, () => void this.#readLoad());
  }

  async #readCertificate(): Promise<void> {
    const { clock, options, changed } = this.#deps;
    const { status } = this.#found;
    const due = status !== undefined && this.#state.healthy;
    if (due) {
      const { timeoutMs, statusTls: tls } = options();
      const signsTokens = await hasSigningCertificate({ ...status, timeoutMs, ...(tls !== undefined && { tls }) }).catch(() => undefined);
      if (!this.#running) return;
      if (signsTokens !== undefined && signsTokens !== this.#state.signsTokens) {
        this.#state = { ...this.#state, signsTokens };
        changed(this);
      }
    }
    this.#cancelCertificate = clock.after(due ? certificateIntervalMs : options().intervalMs, () => void this.#readCertificate());
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#deps.clock.after(ms, resolve);
      this.#cancel = () => {
        cancel();
        resolve();
      };
    });
  }
}

/** What of a state others see, as one text to compare: times are none of it, functions are compared as objects. */
function shown({ pingMs: _pingMs, roundMs: _roundMs, checkedAtMs: _checkedAtMs, storedFunctions: _functions, ...rest }: CheckerState): string {
  return JSON.stringify(rest);
}

export function areSame(some: ReadonlySet<string>, others: ReadonlySet<string> | undefined): boolean {
  return some === others || (some.size === others?.size && [...some].every((each) => others.has(each)));
}
