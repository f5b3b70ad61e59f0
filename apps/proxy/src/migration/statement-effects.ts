import type { LexerMode } from '@binnacle/mysql-wire/lexer';
import { sessionEffects, type StatementEffects } from '@binnacle/mysql-wire/session-effects';
import { statementShape } from './statement-shape.js';

/** What the proxy has to know of a statement, once for all who send it. */
export interface ExaminedStatement extends StatementEffects {
  /** As given, one character a byte. */
  readonly text: string;
  /** Nothing but what the trackers report, and nothing for ROW_COUNT: no need to wait for its result. */
  readonly ordinary: boolean;
  /** ROW_COUNT() may be above 0 afterwards. */
  readonly leavesRowCount: boolean;
  /** It uses a table for sure, which ends the warnings of earlier statements. */
  readonly clearsWarnings: boolean;
  /** It may run triggers, views and defaults of tables. */
  readonly usesTables: boolean;
  /** It sets what the server reports of changes. */
  readonly setsTrackers: boolean;
  /** It sets a character set or a collation. */
  readonly setsCharset: boolean;
}

const none: ReadonlySet<string> = new Set();
const noEffects: ReadonlySet<never> = new Set();
/** Two generations of so many texts each: at most 4 MB a worker. */
const textsMax = 1_024;
const textCharactersMax = 2_048;

/**
 * Statements in which nothing stands that could leave something behind, by their characters alone: no parenthesis, so no call; no `@`; no
 * comment; no second statement. Only a sequence needs none of these.
 */
const plain = /^(?:select|insert|update|delete|replace|show|commit|rollback|begin|use) ?[\w .,*=<>?'`+-]*$/i;
const sequence = /next|previous|lastval/i;
/** These leave 0 or -1 as ROW_COUNT. */
const leavesNoRowCount = /^[\s(]*(?:select|set|begin|start|commit|rollback|savepoint|release|use|show|explain|desc|describe|do)\b/i;
/** EXPLAIN is not among them: it may evaluate what is constant, and with ANALYZE all. */
const usesNoTable = /^\s*(?:set\b(?![^]*\()|begin|start|commit|rollback|savepoint|release|use|show)\b/i;
const changesTable = /^\s*(?:(?:insert|update|delete|replace|truncate)\b|(?:create|alter|drop)\s+(?:or\s+replace\s+)?(?:temporary\s+)?table\b)/i;
const readsTable = /^\s*(?:select\b[^]*\bfrom\s+(?!dual\b)[\w`]|show\s+(?:databases|tables)\b)/i;
/** FROM means something else in these. */
const fromWithin = /\b(?:extract|trim|substring|substr|mid|position)\s*\(/i;
const into = /\binto\b/i;
/** Anything behind a semicolon. */
const several = /;\s*\S/;

const modeKeys = ['', '\u{1}', '\u{2}', '\u{3}'];

/** Examines statements, and remembers the last ones: applications send the same texts again and again. One for all sessions of a worker. */
export class StatementExaminer {
  #young = new Map<string, ExaminedStatement>();
  #old = new Map<string, ExaminedStatement>();
  /** By shape: statements that leave nothing behind whatever values stand in them. */
  #harmless = new Map<string, ExaminedStatement>();
  #storedFunctions = none;

  /** As `examine`, for the text of a COM_QUERY: most are known by their shape, and never become a string. The `text` may be that of another one with the same shape if it leaves nothing behind. */
  examineQuery(payload: Buffer, start: number, end: number, mode: LexerMode, storedFunctions = none): ExaminedStatement {
    if (storedFunctions !== this.#storedFunctions) this.#forget(storedFunctions);
    const shape = statementShape(payload, start, end);
    const known = shape === undefined ? undefined : this.#harmless.get(shape);
    if (known !== undefined) return known;
    const statement = this.examine(payload.toString('latin1', start, end), mode, storedFunctions);
    if (shape !== undefined && leavesNothing(statement)) {
      if (this.#harmless.size >= textsMax) this.#harmless = new Map();
      this.#harmless.set(shape, statement);
    }
    return statement;
  }

  /** @param text one character a byte: all that matters is ASCII in every character set that may be read at all */
  examine(text: string, mode: LexerMode, storedFunctions = none): ExaminedStatement {
    if (storedFunctions !== this.#storedFunctions) this.#forget(storedFunctions);
    if (text.length > textCharactersMax) return examined(text, mode, storedFunctions);
    const key = modeKeys[(mode.ansiQuotes ? 1 : 0) + (mode.noBackslashEscapes ? 2 : 0)]! + text;
    const known = this.#young.get(key);
    if (known !== undefined) return known;
    const statement = this.#old.get(key) ?? examined(text, mode, storedFunctions);
    if (this.#young.size >= textsMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, statement);
    return statement;
  }

  /** What is a stored function's name matters to the result. The set is another with every view of the backends, mostly an equal one. */
  #forget(storedFunctions: ReadonlySet<string>): void {
    const same = storedFunctions.size === this.#storedFunctions.size && [...storedFunctions].every((name) => this.#storedFunctions.has(name));
    this.#storedFunctions = storedFunctions;
    if (same) return;
    this.#young = new Map();
    this.#old = new Map();
    this.#harmless = new Map();
  }
}

function leavesNothing({ effects, functions, procedures, setsTrackers, setsCharset }: ExaminedStatement): boolean {
  return effects.size === 0 && functions.length === 0 && procedures.length === 0 && !setsTrackers && !setsCharset;
}

/** For a text whose quotes may be read in either way: the union of all that it may mean. */
export function examineInEveryMode(examiner: StatementExaminer, text: string, storedFunctions?: ReadonlySet<string>): ExaminedStatement {
  const flags = [false, true];
  const all = flags.flatMap((ansiQuotes) => flags.map((noBackslashEscapes) => examiner.examine(text, { ansiQuotes, noBackslashEscapes }, storedFunctions)));
  return {
    ...all[0]!,
    ordinary: all.every(({ ordinary }) => ordinary),
    clearsWarnings: all.every(({ clearsWarnings }) => clearsWarnings),
    effects: new Set(all.flatMap(({ effects }) => [...effects])),
    functions: [...new Set(all.flatMap(({ functions }) => functions))],
    procedures: [...new Set(all.flatMap(({ procedures }) => procedures))],
  };
}

function usesTableForSure(text: string): boolean {
  if (several.test(text)) return false;
  if (changesTable.test(text)) return true;
  return !/["\\]|\/\*|--|#/.test(text) && readsTable.test(text.replace(/'[^']*'/g, "''")) && !fromWithin.test(text);
}

function examined(text: string, mode: LexerMode, storedFunctions: ReadonlySet<string>): ExaminedStatement {
  const leavesRowCount = !leavesNoRowCount.test(text) || into.test(text) || several.test(text);
  const usesTables = !usesNoTable.test(text) || several.test(text);
  const clearsWarnings = usesTableForSure(text);
  const setsTrackers = /session_track/i.test(text) && /\bset\b/i.test(text);
  const setsCharset = /^\s*set\b/i.test(text) && /\b(?:names|charset|character|\w*character_set_\w+|\w*collation_\w+)/i.test(text);
  const found =
    plain.test(text) && !sequence.test(text)
      ? { effects: noEffects, functions: [], procedures: [] }
      : sessionEffects(text, mode, storedFunctions);
  const ordinary = !leavesRowCount && !setsTrackers && !setsCharset && found.effects.size === 0 && found.functions.length === 0 && found.procedures.length === 0;
  return { text, ordinary, leavesRowCount, clearsWarnings, usesTables, setsTrackers, setsCharset, effects: found.effects, functions: found.functions, procedures: found.procedures };
}
