import type { SessionEffect } from '@binnacle/mysql-wire/session-effects';
import type { ExaminedStatement } from './statement-effects.js';

const word = '(?:`[^`.]+`|[\\w$]+)';
const name = `(${word}(?:\\s*\\.\\s*${word})?)`;
const text = "'([^'\\\\]{1,64})'";
const end = '\\s*;?\\s*$';
const pattern = (source: string): RegExp => new RegExp(`^\\s*${source}`, 'i');

/** Something with a name that stays open until it is closed by that name. */
interface Kind {
  readonly effects: readonly SessionEffect[];
  readonly opens: RegExp;
  /** The whole statement: whatever else is said in it might change what the name means. */
  readonly closes: RegExp;
}

const kinds = {
  'temporary-table': {
    effects: ['temporary-table'],
    opens: pattern(`create\\s+(?:or\\s+replace\\s+)?temporary\\s+table\\s+(?:if\\s+not\\s+exists\\s+)?${name}`),
    closes: pattern(`drop\\s+temporary\\s+table\\s+(?:if\\s+exists\\s+)?${name}${end}`),
  },
  handler: { effects: ['handler'], opens: pattern(`handler\\s+(?:\\S+\\s+open\\s+as\\s+)?${name}(?:\\s+open)?${end}`), closes: pattern(`handler\\s+${name}\\s+close${end}`) },
  'text-prepare': {
    effects: ['text-prepare'],
    opens: pattern(`prepare\\s+${name}\\s+from\\b`),
    closes: pattern(`(?:deallocate|drop)\\s+prepare\\s+${name}${end}`),
  },
  xa: { effects: ['xa'], opens: pattern(`xa\\s+(?:start|begin)\\s+${text}${end}`), closes: pattern(`xa\\s+(?:commit|rollback)\\s+${text}(?:\\s+one\\s+phase)?${end}`) },
  'advisory-lock': {
    effects: ['advisory-lock', 'advisory-unlock'],
    opens: pattern(`(?:select|do)\\s+get_lock\\s*\\(\\s*${text}\\s*,\\s*-?\\d+(?:\\.\\d+)?\\s*\\)(?:\\s+as\\s+\\w+)?${end}`),
    closes: /^(?!)/,
  },
} as const satisfies Record<string, Kind>;

export type HeldKind = keyof typeof kinds;
const kindNames = Object.keys(kinds) as HeldKind[];

/** How many names of one kind are kept; more are as if their names were not known. */
const namesMax = 64;
const releasesAllLocks = pattern(`(?:select|do)\\s+release_all_locks\\s*\\(\\s*\\)(?:\\s+as\\s+\\w+)?${end}`);
const onlyCloses = /^\s*(?:drop|deallocate)\b/i;
/** Statements after which a table of that name may be another one, wherever the word stands: before it there may be comments. */
const renames = /\b(?:alter|rename)\b/i;

/**
 * Temporary tables, handlers, statements of PREPARE, XA transactions and advisory locks that may be open. A name is given up only where the closing statement is so plain
 * that it cannot mean anything else; where the opening one was not, the kind stays until the session is reset.
 */
export class HeldNames {
  #names: Map<HeldKind, Set<string>> | undefined;
  /** Of these something is held whose name is not known. */
  #unnamed: Set<HeldKind> | undefined;
  /** RELEASE_LOCK was called: the server can be asked which of the named locks are left. */
  locksDoubtful = false;

  /** A statement with these effects succeeded; with `failed` it may have done a part of what it says. */
  passed(statement: ExaminedStatement, failed: boolean, database: string): void {
    if (renames.test(statement.text) && this.#names?.has('temporary-table') === true) this.#unname('temporary-table');
    for (const kind of kindNames) {
      if (kinds[kind].effects.some((effect) => statement.effects.has(effect))) this.#passedOf(kind, statement, failed, database);
    }
  }

  #passedOf(kind: HeldKind, { text, effects }: ExaminedStatement, failed: boolean, database: string): void {
    const single = !/;\s*\S/.test(text);
    const closed = single ? kinds[kind].closes.exec(text)?.[1] : undefined;
    if (closed !== undefined) {
      if (!failed) this.#close(kind, normalised(kind, closed, database));
      return;
    }
    if (kind === 'advisory-lock' && !effects.has('advisory-lock')) {
      if (!failed && releasesAllLocks.test(text)) this.#closeAll(kind);
      else this.locksDoubtful = true;
      return;
    }
    if (kind === 'handler' && /^\s*handler\b[^]*\bread\b/i.test(text)) return;
    // A lock stays though the statement fails behind it: in a later row, at its time limit, by KILL QUERY.
    if (single && ((failed && kind !== 'advisory-lock') || onlyCloses.test(text))) return;
    const opened = single ? kinds[kind].opens.exec(text)?.[1] : undefined;
    if (opened === undefined) {
      // Statements of the XA transaction that is under way.
      if (kind !== 'xa' || !/^\s*xa\s+(?:end|prepare|recover)\b/i.test(text)) this.#unname(kind);
    } else {
      this.#open(kind, normalised(kind, opened, database));
      if (failed) this.locksDoubtful = true;
    }
  }

  #open(kind: HeldKind, opened: string): void {
    this.#names ??= new Map();
    let names = this.#names.get(kind);
    if (names === undefined) this.#names.set(kind, (names = new Set()));
    if (kind === 'advisory-lock') this.locksDoubtful = false;
    if (names.size < namesMax) names.add(opened);
    else this.#unname(kind);
  }

  #unname(kind: HeldKind): void {
    (this.#unnamed ??= new Set()).add(kind);
  }

  #close(kind: HeldKind, closed: string): void {
    const names = this.#names?.get(kind);
    if (names?.delete(closed) === true && names.size === 0) this.#names!.delete(kind);
  }

  #closeAll(kind: HeldKind): void {
    this.#names?.delete(kind);
    this.#unnamed?.delete(kind);
  }

  /** Kinds of which something may be held, and its names where they are known. Locks that are only doubtful are not among them. */
  held(): Map<HeldKind, readonly string[]> {
    const held = new Map<HeldKind, readonly string[]>();
    for (const kind of kindNames) {
      if (this.#unnamed?.has(kind) === true) held.set(kind, []);
      else if (this.#names?.has(kind) === true && !(kind === 'advisory-lock' && this.locksDoubtful)) held.set(kind, [...this.#names.get(kind)!]);
    }
    return held;
  }

  get any(): boolean {
    return this.#unnamed !== undefined || (this.#names !== undefined && this.#names.size > 0);
  }

  /** Names of advisory locks that were taken and of which some may be free again. */
  get doubtfulLocks(): readonly string[] {
    return this.locksDoubtful ? [...(this.#names?.get('advisory-lock') ?? [])] : [];
  }

  /** What the server said of the doubtful ones. */
  locksAre(held: readonly string[]): void {
    this.locksDoubtful = false;
    this.#names?.delete('advisory-lock');
    for (const lock of held) this.#open('advisory-lock', lock);
  }

  clear(): void {
    this.#names = undefined;
    this.#unnamed = undefined;
    this.locksDoubtful = false;
  }
}

/** Tables of one name in two schemas are two. Case counts, which at worst keeps something open. Locks are the server's to compare. */
function normalised(kind: HeldKind, given: string, database: string): string {
  if (kind === 'xa' || kind === 'advisory-lock') return given;
  const plain = given.replace(/`([^`]*)`|\s+/g, '$1');
  return kind === 'temporary-table' && !plain.includes('.') ? `${database}.${plain}` : plain;
}
