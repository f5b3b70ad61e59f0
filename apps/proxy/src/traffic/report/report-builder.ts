import { createHash } from 'node:crypto';
import type { CommandResult } from '../command-result.js';
import { LatencyHistogram } from './latency-histogram.js';
import { differing, isDifference, isInOtherOrder, outcomeOf, whatDiffers, type Outcome, type ResultRules } from './outcomes.js';
import type { CapturedRun, ComparedPlan, DigestReport, Example, Outcomes, ReplayedRun, TrafficFacts } from './traffic-report.js';

/** What came of one command of a capture. */
export interface ComparedCommand extends ResultRules {
  readonly digest: string;
  /** The statement without its values. */
  readonly text: string;
  /** Undefined: the capture knows no result of it. */
  readonly then?: CommandResult | undefined;
  /** Undefined: it was not sent, and `skipped` says why, or no response came. */
  readonly now?: CommandResult | undefined;
  readonly skipped?: string | undefined;
  /** When the capture saw it; milliseconds since 1970. */
  readonly atMs: number;
}

/** A digest with everything at its limit, plans left out, takes some 8 KB: 5,000 of them 40 MB. */
export const digestsMax = 5_000;
export const examplesMax = 5;
export const textCharactersMax = 2_000;
export const planCharactersMax = 8_000;
export const skipReasonsMax = 32;
export const warningsMax = 20;
export const warningCharactersMax = 500;

const damagedDigest = createHash('sha256').update('damaged').digest('hex');

type Mutable<T> = { -readonly [key in keyof T]: T[key] };

class Tally {
  readonly #counts: Mutable<Omit<Outcomes, 'skipped'>> = { commands: 0, equal: 0, otherOrder: 0, different: 0, sameError: 0, otherError: 0, newError: 0, errorGone: 0, notCompared: 0 };
  #skipped: Map<string, number> | undefined;

  add(outcome: Outcome, inOtherOrder: boolean): void {
    this.#counts.commands++;
    this.#counts[outcome]++;
    if (inOtherOrder) this.#counts.otherOrder++;
  }

  skip(reason: string): void {
    this.#counts.commands++;
    const skipped = (this.#skipped ??= new Map());
    const kept = skipped.has(reason) || skipped.size < skipReasonsMax - 1 ? reason : 'other';
    skipped.set(kept, (skipped.get(kept) ?? 0) + 1);
  }

  get commands(): number {
    return this.#counts.commands;
  }

  outcomes(): Outcomes {
    return { ...this.#counts, skipped: Object.fromEntries(this.#skipped ?? []) };
  }
}

class DigestTally extends Tally {
  readonly then = new LatencyHistogram();
  readonly now = new LatencyHistogram();
  readonly examples: Example[] = [];
  plan: ComparedPlan | undefined;
  differs = false;

  constructor(
    readonly digest: string,
    readonly text: string,
  ) {
    super();
  }

  report(): DigestReport {
    const { digest, text, examples, plan } = this;
    return { digest, text, ...this.outcomes(), then: this.then.latencies(), now: this.now.latencies(), examples: [...examples], plan };
  }
}

/**
 * Adds up what a replay finds, command by command, in bounded memory. Where there are more than `digestsMax` digests, the rare ones without a difference
 * make room, and count anew when they come again; `totals` has every command in any case, so that no difference is ever lost to the verdict.
 */
export class ReportBuilder {
  readonly #digests = new Map<string, DigestTally>();
  readonly #totals = new Tally();
  readonly #warnings: string[] = [];
  #warningsOmitted = 0;
  readonly #then = new LatencyHistogram();
  readonly #now = new LatencyHistogram();
  readonly #plans = { compared: 0, changed: 0 };
  readonly #digestsMax: number;
  #differing = 0;

  constructor(options: { readonly digestsMax?: number } = {}) {
    this.#digestsMax = options.digestsMax ?? digestsMax;
  }

  get totals(): Outcomes {
    return this.#totals.outcomes();
  }

  add(command: ComparedCommand): void {
    const { now } = command;
    if (command.skipped !== undefined || now === undefined) {
      const reason = command.skipped ?? 'no-response';
      this.#totals.skip(reason);
      this.#tally(command.digest, command.text, false)?.skip(reason);
      return;
    }
    const outcome = outcomeOf(command.then, now, command);
    const differs = isDifference(outcome);
    const tally = this.#tally(command.digest, command.text, differs);
    const inOtherOrder = outcome === 'equal' && isInOtherOrder(command.then!, now, command);
    this.#totals.add(outcome, inOtherOrder);
    tally?.add(outcome, inOtherOrder);
    this.#addLatencies(command.then, now, tally);
    if (differs && tally !== undefined) this.#addDifference(command.then!, now, command.atMs, tally);
  }

  warn(message: string): void {
    if (this.#warnings.length < warningsMax) this.#warnings.push(limited(message, warningCharactersMax));
    else this.#warningsOmitted++;
  }

  /** A place of the files that was left out: nobody knows which command it was, so that it counts as one that should have been compared. */
  damaged(): void {
    this.add({ digest: damagedDigest, text: '(damaged in the files)', hasOrder: false, changesByNature: false, skipped: 'damaged', atMs: 0 });
  }

  /** Once for each digest. */
  addPlan(digest: string, text: string, { then, now, changed }: ComparedPlan): void {
    this.#plans.compared++;
    if (changed) this.#plans.changed++;
    const tally = this.#tally(digest, text, changed);
    if (tally === undefined) return;
    tally.plan = { then: limited(then, planCharactersMax), now: limited(now, planCharactersMax), changed };
    if (changed) this.#mark(tally);
  }

  /** All so far; may be asked again. */
  facts(capture: CapturedRun, replay: ReplayedRun): TrafficFacts {
    const digests = [...this.#digests.values()].map((tally) => tally.report()).toSorted(worstFirst);
    const totals = this.totals;
    return {
      version: 1,
      capture: { ...capture, server: limited(capture.server, textCharactersMax), cutOff: limited(capture.cutOff, textCharactersMax) },
      replay: { ...replay, server: limited(replay.server, textCharactersMax), cutOff: limited(replay.cutOff, textCharactersMax) },
      totals,
      then: this.#then.latencies(),
      now: this.#now.latencies(),
      plans: { ...this.#plans },
      digests,
      commandsOmitted: totals.commands - digests.reduce((sum, { commands }) => sum + commands, 0),
      warnings: this.#warningsOmitted === 0 ? [...this.#warnings] : [...this.#warnings, `and ${this.#warningsOmitted} more`],
    };
  }

  /** Errors are left out: they mostly come faster than what they stand in for. */
  #addLatencies(then: CommandResult | undefined, now: CommandResult, tally: DigestTally | undefined): void {
    if (now.errorCode !== 0 || (then !== undefined && then.errorCode !== 0)) return;
    this.#now.add(now.latencyUs);
    tally?.now.add(now.latencyUs);
    if (then === undefined) return;
    this.#then.add(then.latencyUs);
    tally?.then.add(then.latencyUs);
  }

  #addDifference(then: CommandResult, now: CommandResult, atMs: number, tally: DigestTally): void {
    this.#mark(tally);
    if (tally.examples.length >= examplesMax) return;
    const { connectionId, ordinal } = then;
    tally.examples.push({ connectionId, ordinal, at: new Date(atMs).toISOString(), what: whatDiffers(then, now) });
  }

  #mark(tally: DigestTally): void {
    if (!tally.differs) this.#differing++;
    tally.differs = true;
  }

  #tally(digest: string, text: string, differs: boolean): DigestTally | undefined {
    const known = this.#digests.get(digest);
    if (known !== undefined) return known;
    if (this.#digests.size >= this.#digestsMax && !this.#makeRoom(differs)) return undefined;
    const tally = new DigestTally(digest, limited(text, textCharactersMax));
    this.#digests.set(digest, tally);
    return tally;
  }

  /** A tenth at once, so that the search for the rare ones is paid by many. Those that differ stay. */
  #makeRoom(forOneThatDiffers: boolean): boolean {
    const tenth = Math.ceil(this.#digestsMax / 10);
    const without = this.#digests.size - this.#differing;
    if (without < (forOneThatDiffers ? 1 : tenth)) return false;
    const rare = [...this.#digests.values()].filter((tally) => !tally.differs).toSorted((a, b) => a.commands - b.commands);
    for (const { digest } of rare.slice(0, tenth)) this.#digests.delete(digest);
    return true;
  }
}

/** A cut text would keep the whole one in memory: the copy does not. */
function limited(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : structuredClone(`${text.slice(0, charactersMax - 1)}…`);
}

function worstFirst(a: DigestReport, b: DigestReport): number {
  return rank(b) - rank(a) || differing(b) - differing(a) || b.commands - a.commands;
}

function rank(report: DigestReport): number {
  if (differing(report) > 0) return 3;
  return report.plan?.changed ? 2 : report.otherOrder > 0 ? 1 : 0;
}
