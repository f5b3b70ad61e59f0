import { isBuiltinFunction, isSyntaxWord } from './builtin-functions.js';
import { isLexerSafeCharset } from './charset.js';
import { Token, type LexerMode } from './lexer.js';
import { hasQuotesInHint, literalText, possibleWords, statementLexemes, type Lexeme } from './statement-lexemes.js';
import { changesByNature, hasTopLevelOrder } from './result-nature.js';

/** What a text sent to a server does, as far as its own words show: of what is inside views and functions nothing is known. */
export interface StatementNature {
  /**
   * Why it may write, lock, wait, or reach beyond its session; undefined: it is known to do none of that. What it leaves in its own session (variables, the
   * database, a transaction that only reads) is allowed.
   */
  readonly refusal: string | undefined;
  /** The order of its rows means something: ORDER BY at the top level. */
  readonly hasOrder: boolean;
  /** NOW(), RAND(), CONNECTION_ID() and the like: two runs on the same data differ. */
  readonly changesByNature: boolean;
  /** A PREPARE in SQL text, of what is read-only: from now on this name (lower case) may be executed. */
  readonly prepares?: PreparedText;
  /** EXECUTE: as read-only as what was prepared under this name (lower case). */
  readonly executes?: string;
  /** It may change how the session's later texts are to be read: `sql_mode` was set. */
  readonly setsMode?: boolean;
  /** There are several statements in it. */
  readonly isSeveral?: boolean;
}

export interface PreparedText {
  readonly name: string;
  /** Undefined: not known to be read-only, and whatever had the name before is gone. */
  readonly nature: StatementNature | undefined;
}

const noFunctions: ReadonlySet<string> = new Set();
/** As mysqldump has it: the one version comment within a statement that changes nothing. */
const noCacheComment = /^\s*select\s*\/\*!4\d{4} sql_no_cache \*\//i;
/** PREPARE of a PREPARE is refused by servers. */
const preparedDepthMax = 1;

/**
 * Default deny: what is not known to be read-only is not.
 *
 * @param storedFunctions names in lower case of functions that the server stores in any schema, where they are known: these are not taken for built-in ones
 */
export function statementNature(text: string, mode: LexerMode, storedFunctions = noFunctions): StatementNature {
  return natureOf(text, mode, storedFunctions, 0);
}

function natureOf(text: string, mode: LexerMode, storedFunctions: ReadonlySet<string>, preparedDepth: number): StatementNature {
  const plain = text.replace(noCacheComment, 'select ');
  const lexed = statementLexemes(plain, mode);
  if (lexed === undefined) return refused('unterminated or too long');
  const { statements } = lexed;
  const nature = { hasOrder: statements.length > 0 && statements.every(hasTopLevelOrder), changesByNature: statements.some(changesByNature), ...(statements.length > 1 && { isSeveral: true }) };
  const because = (refusal: string): StatementNature => ({ ...nature, refusal });
  if (lexed.versionComment && !isOneVersionComment(plain)) return because('version comment');
  if (hasQuotesInHint(plain)) return because('quotes within an optimizer hint');
  const strange = statements.some((lexemes) => lexemes.some((lexeme) => isStrange(lexeme)));
  if (strange) return because('characters that are not understood');
  const [only] = statements;
  if (statements.length === 1 && only?.[0]?.token === Token.word) {
    const first = only[0].text;
    if (first === 'prepare') return { ...because(''), ...preparing(only, mode, storedFunctions, preparedDepth) };
    if (first === 'execute') return { ...because(''), ...executing(only, storedFunctions) };
  }
  let setsMode = false;
  for (const lexemes of statements) {
    if (setsMode) return because('statements behind a change of how text is read');
    const refusal = refusalOf(lexemes, mode, storedFunctions);
    if (refusal !== undefined) return because(refusal);
    setsMode = changesReading(lexemes);
  }
  return { ...nature, refusal: undefined, ...(setsMode && { setsMode }) };
}

function refused(refusal: string): StatementNature {
  return { refusal, hasOrder: false, changesByNature: false };
}

/** As dumps have them: a server executes all of it or nothing. */
function isOneVersionComment(text: string): boolean {
  let end = text.length;
  while (end > 0 && ' \t\r\n;'.includes(text[end - 1]!)) end--;
  return text.trimStart().startsWith('/*') && text.indexOf('*/') === end - 2;
}

const punctuation = /^(?:[(),.=<>+\-*/%!~^&|{}]|:=|->>?|\|\||&&|<=>?|>=|<>|!=|<<|>>)$/;

/** What no statement that is understood here has. */
function isStrange({ token, text }: Lexeme): boolean {
  if (token === Token.operator) return !punctuation.test(text);
  // With ANSI_QUOTES a server knows no backslash in `@"name"`, and the lexer does.
  if (token === Token.userVariable) return text.includes('\\');
  return token === Token.word && text.startsWith('$');
}

function changesReading(lexemes: readonly Lexeme[]): boolean {
  if (lexemes[0]!.text !== 'set') return false;
  return lexemes.some(({ token, text }) => token !== Token.string && /^(?:names|charset|character)$|(?:sql_mode|character_set_client)$/.test(text));
}

type Refusal = string | undefined;

/** Of one statement. */
function refusalOf(lexemes: readonly Lexeme[], mode: LexerMode, storedFunctions: ReadonlySet<string>): Refusal {
  const opening = lexemes.findIndex(({ text, token }) => token !== Token.operator || text !== '(');
  const first = lexemes[opening];
  if (first?.token !== Token.word) return 'not understood';
  if (opening > 0) return first.text === 'select' || first.text === 'with' || first.text === 'values' || first.text === 'table' ? query(lexemes, storedFunctions) : first.text;
  switch (first.text) {
    case 'select':
    case 'with':
    case 'values':
    case 'table':
      return query(lexemes, storedFunctions);
    case 'explain':
    case 'describe':
    case 'desc':
      return explain(lexemes, storedFunctions);
    case 'analyze':
      return analyze(lexemes, storedFunctions);
    case 'show':
      return show(lexemes, storedFunctions);
    case 'set':
      return settings(lexemes, mode, storedFunctions);
    case 'begin':
    case 'start':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'release':
      return transaction(lexemes);
    case 'use':
    case 'help':
    case 'deallocate':
    case 'checksum':
      return namesOnly(lexemes);
    case 'drop':
      return lexemes[1]?.text === 'prepare' ? namesOnly(lexemes) : 'drop';
    default:
      return first.text;
  }
}

/** For unquoted words that may be several for other readers. */
function isOneOf({ token, text }: Lexeme, words: ReadonlySet<string>): boolean {
  return token === Token.word && possibleWords(text).some((word) => words.has(word));
}

const wordSet = (words: string): ReadonlySet<string> => new Set(words.trim().split(/\s+/));
const intoWords = wordSet('into outfile dumpfile');
const selectWord = wordSet('select');
/** Reserved in every server, and in a query only where it writes or locks. */
const writingWords = wordSet('into outfile dumpfile update delete lock procedure call load');
/** What may stand behind FOR without a lock. */
const behindFor = wordSet('join order group system_time ordinality');
const forCalls = wordSet('substring substr mid');
const sequenceWords = wordSet('nextval currval lastval setval');
const beforeValue = wordSet('next previous');

/** Of SELECT, VALUES and TABLE, with their parentheses, unions and common tables. */
function query(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Refusal {
  return clauses(lexemes) ?? calls(lexemes, storedFunctions);
}

function clauses(lexemes: readonly Lexeme[]): Refusal {
  const callNames: string[] = [];
  for (let index = 0; index < lexemes.length; index++) {
    const lexeme = lexemes[index]!;
    const { token, text, depth } = lexeme;
    const next = lexemes[index + 1];
    if (token === Token.operator && text === '(') callNames[depth] = lexemes[index - 1]?.text ?? '';
    if (token !== Token.word) continue;
    const isColumn = lexemes[index - 1]?.text === '.';
    if (isOneOf(lexeme, writingWords) && !isColumn) return text;
    if ((text === 'insert' || text === 'replace') && !isColumn && next?.text !== '(') return text;
    const isFor = text === 'for' && !isColumn;
    if (isFor && !(next?.token === Token.word && behindFor.has(next.text)) && !forCalls.has(callNames[depth - 1] ?? '')) return 'for';
    if (text !== 'for' && possibleWords(text).includes('for')) return 'for';
  }
  return undefined;
}

/** Built in, and not for a replay that only reads: they lock, wait, draw numbers, or read files. */
const refusedFunctions = wordSet(`
  get_lock release_lock release_all_locks nextval setval lastval sleep benchmark load_file master_pos_wait master_gtid_wait source_pos_wait
  wait_for_executed_gtid_set wait_until_sql_thread_after_gtids wsrep_sync_wait_upto_gtid
`);
/** Reserved words, or types within CAST, before a parenthesis; further ones than `isSyntaxWord` knows. */
const furtherSyntax = wordSet('lateral except intersect decimal dec numeric float double real varchar varbinary int integer signed unsigned');
/** Behind these a name is not called. */
const beforeNames = wordSet('as');
const comparisons = new Set(['=', '<', '>', '<=', '>=', '<>', '!=', '<=>']);

/** In SQL and as Oracle has it: `NEXT VALUE FOR s`, `s.NEXTVAL`. */
function drawsNumber(lexemes: readonly Lexeme[]): boolean {
  return lexemes.some((lexeme, index) => {
    if (lexeme.token === Token.quotedName) return sequenceWords.has(lexeme.text) && lexemes[index - 1]?.text === '.';
    if (isOneOf(lexeme, sequenceWords)) return true;
    return isOneOf(lexeme, beforeValue) && (lexemes[index + 1]?.text.startsWith('value') ?? true);
  });
}

/** Every name before a parenthesis must be known. Wherever there are expressions. */
function calls(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Refusal {
  if (drawsNumber(lexemes)) return 'sequence';
  let inCommonTables = lexemes[0]?.text === 'with';
  for (let index = 0; index < lexemes.length; index++) {
    const { token, depth } = lexemes[index]!;
    if (inCommonTables && depth === 0 && endsCommonTables(lexemes, index)) inCommonTables = false;
    if (lexemes[index + 1]?.token !== Token.operator || lexemes[index + 1]!.text !== '(') continue;
    if (token !== Token.word && token !== Token.quotedName) continue;
    if (inCommonTables && depth === 0) continue;
    const refusal = call(lexemes, index, storedFunctions);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** The query itself begins: with its first word, or with a parenthesis behind that of the last table. */
function endsCommonTables(lexemes: readonly Lexeme[], index: number): boolean {
  const { token, text } = lexemes[index]!;
  if (token === Token.operator) return text === '(' && lexemes[index - 1]!.text === ')';
  return token === Token.word && /^(?:select|values|table)$/.test(text);
}

function call(lexemes: readonly Lexeme[], index: number, storedFunctions: ReadonlySet<string>): Refusal {
  const { token, text } = lexemes[index]!;
  const before = lexemes[index - 1];
  if (before?.token === Token.operator && before.text === '.') return `function ${text}()`;
  if (storedFunctions.has(text)) return `function ${text}()`;
  if (token === Token.word && (isSyntaxWord(text) || furtherSyntax.has(text))) return undefined;
  // Column lists of derived tables, AGAINST, COLUMNS of JSON_TABLE: no call stands there.
  if (before?.token === Token.string || (before?.token === Token.operator && before.text === ')')) return undefined;
  if (before?.token === Token.word && beforeNames.has(before.text)) return undefined;
  if (before?.token === Token.operator && comparisons.has(before.text) && token === Token.word && (text === 'any' || text === 'some')) return undefined;
  if (text === 'last_insert_id') return lexemes[index + 2]?.text === ')' ? undefined : 'last_insert_id()';
  const known = isBuiltinFunction(text) || text === 'found_rows' || text === 'row_count';
  return known && !refusedFunctions.has(text) ? undefined : `function ${text}()`;
}

function show(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Refusal {
  if (lexemes.some((lexeme) => isOneOf(lexeme, intoWords))) return 'into';
  const subquery = lexemes.findIndex((lexeme) => isOneOf(lexeme, selectWord));
  return (subquery === -1 ? undefined : clauses(lexemes.slice(subquery))) ?? calls(lexemes, storedFunctions);
}

function explain(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Refusal {
  let at = 1;
  let executes = false;
  for (;;) {
    const { text } = lexemes[at] ?? {};
    if (text === 'analyze') executes = true;
    else if (text === 'format' && lexemes[at + 1]?.text === '=' && possibleWords(lexemes[at + 2]?.text ?? '').length === 1) at += 2;
    else if (text !== 'extended' && text !== 'partitions') break;
    at++;
  }
  const explained = lexemes.slice(at);
  const first = explained.find(({ text }) => text !== '(');
  if (first?.token === Token.word && /^(?:select|with|values|table)$/.test(first.text)) return query(explained, storedFunctions);
  // What is explained is not executed; but what is constant in it may be evaluated.
  if (first?.token === Token.word && (first.text === 'update' || first.text === 'delete')) return executes ? 'explain analyze' : calls(explained, storedFunctions);
  if (executes) return 'explain analyze';
  if (first?.text === 'for') return explained[1]?.text === 'connection' ? namesOnly(explained) : 'explain';
  return namesOnly(lexemes);
}

/** MariaDB's: it executes the statement. ANALYZE TABLE writes statistics. */
function analyze(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Refusal {
  const analyzed = lexemes.slice(lexemes[1]?.text === 'format' && lexemes[2]?.text === '=' ? 4 : 1);
  const first = analyzed.find(({ text }) => text !== '(');
  return first?.token === Token.word && (first.text === 'select' || first.text === 'with') ? query(analyzed, storedFunctions) : 'analyze';
}

/** Words that would make another statement of it. */
const verbs = wordSet('select insert update delete replace into call set values do load create alter drop truncate');
const namesMax = 64;

/** USE, DESCRIBE, CHECKSUM TABLE and the like: names, strings, numbers, points and commas. */
function namesOnly(lexemes: readonly Lexeme[]): Refusal {
  if (lexemes.length > namesMax) return lexemes[0]!.text;
  const other = lexemes.some((lexeme, index) => {
    const { token, text } = lexeme;
    if (token === Token.operator) return text !== '.' && text !== ',';
    return index > 0 && (isOneOf(lexeme, verbs) || token === Token.userVariable || token === Token.systemVariable || token === Token.placeholder);
  });
  return other ? lexemes[0]!.text : undefined;
}

const transactionPatterns = [
  /^begin( work)?$/,
  /^start transaction(,? (with consistent snapshot|read only))*$/,
  /^(commit|rollback)( work)?( and( no)? chain)?( no release)?$/,
];

function transaction(lexemes: readonly Lexeme[]): Refusal {
  const first = lexemes[0]!.text;
  const words = lexemes.map(({ text, token }) => (token === Token.word || text === ',' ? text : '?')).join(' ').replaceAll(' ,', ',');
  if (transactionPatterns.some((pattern) => pattern.test(words))) return undefined;
  const isSavepoint = first === 'savepoint' || (first === 'release' && lexemes[1]?.text === 'savepoint') || (first === 'rollback' && /^rollback( work)? to /.test(words));
  return isSavepoint ? namesOnly(lexemes) : first;
}

/** Session variables that reach beyond the session, or would let it write after all. */
const refusedVariables = wordSet(`
  gtid_next gtid_seq_no gtid_domain_id server_id sql_log_bin sql_log_off insert_id pseudo_slave_mode pseudo_replica_mode pseudo_thread_id binlog_format
  transaction_read_only tx_read_only debug debug_sync debug_dbug debug_assert_on_not_freed_memory wsrep_on wsrep_osu_method
`);
/** Of TiDB some that belong to the whole server could be set as if they were the session's. */
const refusedNames =
  /password|secret|^ddl_slow|^tidb_(?:general_log|pprof|expensive|slow_log|enable_slow_log|record_plan|check_mb4|force_priority|config|log_|ddl_|gc_|server_memory|stmt_summary|enable_stmt|capture_plan|restricted_read_only|super_read_only|service)/;
const safeCharset = /^'?"?([\w]+)'?"?$/;

function settings(lexemes: readonly Lexeme[], mode: LexerMode, storedFunctions: ReadonlySet<string>): Refusal {
  const second = lexemes[1]?.text ?? '';
  const words = lexemes.map(({ text, token }) => (token === Token.word || text === ',' ? text : '?')).join(' ');
  if (second === 'role') return namesOnly(lexemes);
  if (/^set (session |local )?transaction /.test(words)) return /\bwrite\b/.test(words) ? 'set transaction read write' : namesOnly(lexemes);
  for (const assignment of assignments(lexemes)) {
    const refusal = assigned(assignment, mode, storedFunctions);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function* assignments(lexemes: readonly Lexeme[]): Generator<readonly Lexeme[]> {
  let from = 1;
  for (let at = 1; at <= lexemes.length; at++) {
    const lexeme = lexemes[at];
    if (lexeme !== undefined && !(lexeme.depth === 0 && lexeme.token === Token.operator && lexeme.text === ',')) continue;
    yield lexemes.slice(from, at);
    from = at + 1;
  }
}

function assigned(lexemes: readonly Lexeme[], mode: LexerMode, storedFunctions: ReadonlySet<string>): Refusal {
  const [first] = lexemes;
  if (first === undefined) return 'set';
  if (first.token === Token.word && (first.text === 'names' || first.text === 'charset')) return charset(lexemes.slice(1), mode);
  if (first.token === Token.word && first.text === 'character' && lexemes[1]?.text === 'set') return charset(lexemes.slice(2), mode);
  const scoped = first.token === Token.word && (first.text === 'session' || first.text === 'local') ? 1 : 0;
  const target = lexemes[scoped];
  const operator = lexemes[scoped + 1]?.text;
  if (target === undefined || (operator !== '=' && operator !== ':=')) return `set ${first.text}`;
  const value = lexemes.slice(scoped + 2);
  const inValue = value.length === 0 ? 'set' : query(value, storedFunctions);
  if (inValue !== undefined) return inValue;
  if (target.token === Token.userVariable) return scoped === 0 ? undefined : 'set';
  const name = variableName(target);
  if (name === undefined || refusedVariables.has(name) || refusedNames.test(name)) return `set ${target.text}`;
  if (name === 'character_set_client') return charset(value, mode);
  return undefined;
}

/** Of a variable of the session; undefined for every other one. */
function variableName({ token, text }: Lexeme): string | undefined {
  if (token === Token.systemVariable) return /^@@(?:(?:session|local)\.)?(\w+)$/.exec(text)?.[1];
  return token === Token.word || token === Token.quotedName ? /^\w+$/.exec(text)?.[0] : undefined;
}

/** The lexer must understand what comes then. */
function charset(lexemes: readonly Lexeme[], mode: LexerMode): Refusal {
  const [first, collate, collation] = lexemes;
  const name = first?.token === Token.string ? literalText(first.text, mode) : first?.token === Token.word ? first.text : undefined;
  const ends = lexemes.length === 1 || (lexemes.length === 3 && collate!.text === 'collate' && (collation!.token === Token.word || collation!.token === Token.string));
  return ends && name !== undefined && safeCharset.test(name) && isLexerSafeCharset(name) ? undefined : 'set names';
}

/** `PREPARE name FROM 'text'`. */
function preparing(lexemes: readonly Lexeme[], mode: LexerMode, storedFunctions: ReadonlySet<string>, depth: number): Partial<StatementNature> {
  const [, name, from, literal] = lexemes;
  const isName = name?.token === Token.word || name?.token === Token.quotedName;
  if (!isName) return { refusal: 'prepare' };
  const text = from?.text === 'from' && literal?.token === Token.string && lexemes.length === 4 ? literalText(literal.text, mode) : undefined;
  const nature = text === undefined || depth >= preparedDepthMax ? undefined : natureOf(text, mode, storedFunctions, depth + 1);
  const known = nature?.refusal === undefined ? nature : undefined;
  return { refusal: known === undefined ? 'prepare' : undefined, prepares: { name: name.text, nature: known } };
}

/** `EXECUTE name USING @a, @b`. */
function executing(lexemes: readonly Lexeme[], storedFunctions: ReadonlySet<string>): Partial<StatementNature> {
  const name = lexemes[1];
  const isName = (name?.token === Token.word && name.text !== 'immediate') || name?.token === Token.quotedName;
  if (!isName || (lexemes.length > 2 && lexemes[2]!.text !== 'using')) return { refusal: 'execute' };
  return { refusal: query(lexemes.slice(3), storedFunctions), executes: name!.text };
}
