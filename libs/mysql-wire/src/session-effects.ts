import { isBuiltinFunction, isSyntaxWord } from './builtin-functions.js';
import { SqlLexer, Token, type LexerMode } from './lexer.js';

/** What a statement may leave behind in its session that trackers do not report, or report only as "something changed". */
export type SessionEffect =
  /** GET_LOCK. */
  | 'advisory-lock'
  /** RELEASE_LOCK or RELEASE_ALL_LOCKS. */
  | 'advisory-unlock'
  /** HANDLER, whether it opens, reads or closes. */
  | 'handler'
  /** `SET @a`, `@b := 2`, `INTO @c`. */
  | 'user-variable'
  /** LAST_INSERT_ID with an argument. What inserts leave is in their OK packets. */
  | 'last-insert-id'
  /** SQL_CALC_FOUND_ROWS: the next statement may ask for it. */
  | 'found-rows'
  /** PREPARE and DEALLOCATE in SQL. */
  | 'text-prepare'
  | 'temporary-table'
  /** FLUSH TABLES WITH READ LOCK or FOR EXPORT, BACKUP STAGE, LOCK INSTANCE. */
  | 'global-lock'
  | 'table-lock'
  /** UNLOCK TABLES or INSTANCE. */
  | 'unlock'
  | 'xa'
  | 'role'
  /** SET TRANSACTION, for the next transaction alone. */
  | 'one-shot-transaction'
  /** SET timestamp, insert_id and others that servers report, but whose report cannot be replayed. */
  | 'unreplayable-variable'
  /** NEXTVAL and SETVAL: LASTVAL of the session remembers. */
  | 'sequence'
  /** Anything this file does not know. The session stays where it is. */
  | 'not-understood';

/** An empty set and no names: nothing but what the trackers report. */
export interface StatementEffects {
  readonly effects: ReadonlySet<SessionEffect>;
  /** Called, and not known to be harmless: lower case, with the schema if it is there. Whoever knows them may allow them. */
  readonly functions: readonly string[];
  /** The same for CALL. */
  readonly procedures: readonly string[];
}

/** First words of statements whose only effects are those that `readTokens` finds. */
const understood = new Set(
  `select insert update delete replace values table with do explain describe desc show analyze optimize check checksum repair commit rollback
  savepoint release use alter drop truncate rename grant revoke kill load help signal call create flush set`.split(/\s+/),
);
const firstWordEffects = new Map<string, SessionEffect>([
  ['handler', 'handler'],
  ['prepare', 'text-prepare'],
  ['deallocate', 'text-prepare'],
  ['unlock', 'unlock'],
  ['xa', 'xa'],
  ['backup', 'global-lock'],
]);
const functionEffects = new Map<string, SessionEffect>([
  ['get_lock', 'advisory-lock'],
  ['release_lock', 'advisory-unlock'],
  ['release_all_locks', 'advisory-unlock'],
  ['nextval', 'sequence'],
  ['setval', 'sequence'],
]);
/** They leave nothing behind. That they read what the session did before is for its owner to know. */
const readers = new Set(['found_rows', 'row_count', 'lastval']);
/** System variables whose value, once set, is used up or goes on by itself: nobody can set it again elsewhere. */
export const unreplayableVariables: ReadonlySet<string> = new Set(
  'timestamp insert_id last_insert_id identity rand_seed1 rand_seed2 pseudo_thread_id pseudo_slave_mode gtid_next gtid_seq_no wsrep_gtid_seq_no'.split(' '),
);
/** Without `session.`, an assignment to these is for the next transaction alone. */
const oneShot = new Set(['@@transaction_isolation', '@@tx_isolation', '@@transaction_read_only', '@@tx_read_only']);
/** Behind these no expression may stand: a name before a parenthesis is that of a table, an index, an alias or a type. */
const beforeNames = new Set('into table insert replace index key join as'.split(' '));
/** The same in statements of one kind. */
const beforeNamesOf = new Map<string, ReadonlySet<string>>([
  ['insert', new Set(['ignore', 'low_priority', 'delayed', 'high_priority'])],
  ['replace', new Set(['low_priority', 'delayed'])],
  ['with', new Set(['with', 'recursive'])],
]);
const comparisons = new Set(['=', '<', '>', '<=', '>=', '<>', '!=', '<=>']);
const programs = new Set(['procedure', 'function', 'trigger', 'event', 'package']);
/** `CREATE OR REPLACE DEFINER = a@b SQL SECURITY INVOKER PROCEDURE` and some more. */
const createTokensMax = 16;
/** A statement with more has its effects not understood. An INSERT of 64 KB has some 30,000. */
const tokensMax = 100_000;

interface Lexeme {
  readonly token: Token;
  /** Words and names in lower case, names without their quotes. */
  readonly text: string;
}

/** Strings and numbers: what they say does not matter, only that they are there. */
const literal: Lexeme = { token: Token.string, text: '' };

/**
 * What the statements of `text` may do to their session: default deny. What views, triggers and
 * stored programs do inside cannot be seen here: the functions and procedures called by name are given, and no more. Nor is it said
 * what a statement reads of its session's past (FOUND_ROWS, SHOW WARNINGS).
 *
 * @param storedFunctions names in lower case of functions that the backend stores in any schema. They matter where a name is a built-in
 * function's of another server only: without them a `bin_to_uuid` that somebody wrote for MariaDB is taken for MySQL's
 */
export function sessionEffects(text: string, mode: LexerMode, storedFunctions: ReadonlySet<string> = none): StatementEffects {
  const lexer = new SqlLexer(text, mode);
  const found: Found = { effects: new Set(), functions: new Set(), procedures: new Set(), storedFunctions };
  for (let ended = false; !ended; ) {
    const lexemes: Lexeme[] = [];
    ended = readLexemes(lexer, lexemes);
    if (lexemes.length > tokensMax || lexemes.at(-1)?.token === Token.unterminated) found.effects.add('not-understood');
    if (found.effects.has('not-understood')) break;
    const definesProgram = lexemes.length > 0 && readStatement(lexemes, found);
    // A program's text holds semicolons, and what follows them may not belong to it; behind a SET of the mode or the character set, quotes are others.
    if ((definesProgram || changesLexer(lexemes)) && !ended && !restIsEmpty(lexer)) {
      found.effects.add('not-understood');
      break;
    }
  }
  if (lexer.sawVersionComment && !isOneVersionComment(text)) found.effects.add('not-understood');
  return { effects: found.effects, functions: [...found.functions], procedures: [...found.procedures] };
}

function changesLexer(lexemes: readonly Lexeme[]): boolean {
  return lexemes[0]?.text === 'set' && lexemes.some(({ text }) => /^(names|charset|character|.*\bsql_mode|.*\bcharacter_set_client)$/.test(text));
}

function restIsEmpty(lexer: SqlLexer): boolean {
  let token = lexer.next();
  while (token === Token.operator && lexer.raw === ';') token = lexer.next();
  return token === Token.end;
}

/**
 * As dumps have them: then a server executes all of it or nothing. Where something stands beside a version comment, a server that passes it
 * may read the rest in another way: `SELECT /*!99999 1 AS *\/ GET_LOCK('a', 1)`.
 */
function isOneVersionComment(text: string): boolean {
  let end = text.length;
  while (end > 0 && ' \t\r\n;'.includes(text[end - 1]!)) end--;
  return text.trimStart().startsWith('/*') && text.indexOf('*/') === end - 2;
}

interface Found {
  readonly effects: Set<SessionEffect>;
  readonly functions: Set<string>;
  readonly procedures: Set<string>;
  readonly storedFunctions: ReadonlySet<string>;
}

const none: ReadonlySet<string> = new Set();

/** One statement's; true if none follows. Parentheses before its first word are left out. */
function readLexemes(lexer: SqlLexer, lexemes: Lexeme[]): boolean {
  for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
    if (token === Token.string || token === Token.number) {
      if (lexemes.push(literal) > tokensMax) break;
      continue;
    }
    const { raw } = lexer;
    if (token === Token.operator && raw === ';') return false;
    if (lexemes.length === 0 && raw === '(') continue;
    const quote = raw[0]!;
    lexemes.push({ token, text: token === Token.quotedName ? raw.slice(1, -1).replaceAll(quote + quote, quote).toLowerCase() : raw.toLowerCase() });
    if (token === Token.unterminated || lexemes.length > tokensMax) break;
  }
  return true;
}

/** True if the statement defines a stored program. */
function readStatement(lexemes: readonly Lexeme[], found: Found): boolean {
  const first = lexemes[0]!.token === Token.word ? lexemes[0]!.text : '';
  const effect = firstWordEffects.get(first) ?? effectOfFirstWords(first, lexemes[1]?.text, lexemes[2]?.text);
  if (effect !== undefined) found.effects.add(effect);
  else if (!understood.has(first) && !isTransactionStart(first, lexemes)) found.effects.add('not-understood');
  if (first === 'create' || first === 'alter') {
    const opening = lexemes.slice(1, createTokensMax);
    const kind = opening.findIndex(({ text }) => text === 'table' || text === 'view' || text === 'index' || programs.has(text));
    if (opening.slice(0, kind).some(({ text }) => text === 'temporary')) found.effects.add('temporary-table');
    if (programs.has(opening[kind]?.text ?? '')) return true;
  }
  if (first === 'call') found.procedures.add(calledProcedure(lexemes));
  readTokens(first, lexemes, found);
  return false;
}

function effectOfFirstWords(first: string, second: string | undefined, third: string | undefined): SessionEffect | undefined {
  if (first === 'drop' && second === 'temporary') return 'temporary-table';
  if (first === 'drop' && second === 'prepare') return 'text-prepare';
  if (first === 'lock') return second === 'instance' ? 'global-lock' : 'table-lock';
  if (first !== 'set') return undefined;
  if (second === 'transaction') return 'one-shot-transaction';
  if (second === 'role') return 'role';
  return second === 'statement' || second === 'resource' || third === 'authorization' ? 'not-understood' : undefined;
}

function isTransactionStart(first: string, lexemes: readonly Lexeme[]): boolean {
  if (first === 'start') return lexemes[1]?.text === 'transaction';
  return first === 'begin' && (lexemes.length === 1 || (lexemes.length === 2 && lexemes[1]!.text === 'work'));
}

function calledProcedure(lexemes: readonly Lexeme[]): string {
  const end = lexemes.findIndex(({ text, token }) => token === Token.operator && text === '(');
  return lexemes.slice(1, end === -1 ? undefined : end).map(({ text }) => text).join('');
}

function readTokens(first: string, lexemes: readonly Lexeme[], found: Found): void {
  const { effects } = found;
  const calls = first !== 'call' && !definesOnly(first, lexemes);
  lexemes.forEach(({ token, text }, index) => {
    const next = lexemes[index + 1]?.text;
    const assigned = next === ':=' || (first === 'set' && next === '=');
    if (token === Token.userVariable && (assigned || first === 'load' || lexemes[index - 1]?.text === 'into')) effects.add('user-variable');
    if (token === Token.systemVariable && assigned && oneShot.has(text)) effects.add('one-shot-transaction');
    if ((token === Token.systemVariable || token === Token.word || token === Token.quotedName) && assigned && unreplayableVariables.has(text.replace(/^.*[@.]|`/g, ''))) {
      effects.add('unreplayable-variable');
    }
    if (token === Token.word) readWord(first, text, next, effects);
    const isName = token === Token.word || token === Token.quotedName;
    if (calls && isName && next === '(' && lexemes[index + 1]!.token === Token.operator) readCall(first, lexemes, index, found);
  });
}

/** In a definition without a query no server allows stored functions; what stands before its parentheses are columns, types and keys. */
function definesOnly(first: string, lexemes: readonly Lexeme[]): boolean {
  if (first !== 'create' && first !== 'alter') return false;
  return !lexemes.some(({ text }, index) => {
    const next = lexemes[index + 1]?.text;
    return text === 'select' || (text === 'values' && (next === '(' || next === 'row'));
  });
}

function readWord(first: string, word: string, next: string | undefined, effects: Set<SessionEffect>): void {
  if (word === 'sql_calc_found_rows') effects.add('found-rows');
  if (word === 'nextval' || (word === 'next' && next === 'value')) effects.add('sequence');
  if (first === 'flush' && (word === 'export' || (word === 'read' && next === 'lock'))) effects.add('global-lock');
}

/** A name before a parenthesis, at `index`. */
function readCall(first: string, lexemes: readonly Lexeme[], index: number, { effects, functions, storedFunctions }: Found): void {
  const { token, text } = lexemes[index]!;
  const qualified = lexemes[index - 1]?.text === '.';
  const before = lexemes[index - (qualified ? 3 : 1)];
  if (!qualified && token === Token.word && isSyntaxWord(text)) return;
  if (before?.token === Token.word && (beforeNames.has(before.text) || beforeNamesOf.get(first)?.has(before.text))) return;
  // `MATCH (a) AGAINST (…)`: between a parenthesis that closes and a call there is an operator or a reserved word.
  if (before?.token === Token.operator && before.text === ')') return;
  if (before?.token === Token.operator && comparisons.has(before.text) && token === Token.word && (text === 'any' || text === 'some')) return;
  if (qualified) {
    functions.add(`${lexemes[index - 2]?.text ?? ''}.${text}`);
    return;
  }
  const effect = functionEffects.get(text);
  if (effect !== undefined) effects.add(effect);
  else if (text === 'last_insert_id') {
    if (lexemes[index + 2]?.text !== ')') effects.add('last-insert-id');
  } else if (storedFunctions.has(text) || (!readers.has(text) && !isBuiltinFunction(text))) functions.add(text);
}
