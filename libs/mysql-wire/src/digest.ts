import { createHash } from 'node:crypto';
import { SqlLexer, Token, type LexerMode } from './lexer.js';

/** A statement without its values, and the name of all statements that differ in nothing else. */
export interface StatementDigest {
  /** Lower-case words, `?` for literals, `...` for lists of literals; cut at `textMax` characters. */
  readonly text: string;
  /** SHA-256 of the whole normalised text, 64 hexadecimal digits. */
  readonly digest: string;
}

/** Longer texts are digested whole, and shown cut. */
const textMax = 4_096;

/**
 * `SELECT * FROM t WHERE a IN (1, 2) AND b = 'x' -- why` becomes ``select * from t where a in ( ... ) and b = ?``. Comments go, spacing
 * becomes one space, quoted names keep their quotes and case. Several rows of VALUES become one.
 */
export function statementDigest(statement: string, mode: LexerMode): StatementDigest {
  const parts: string[] = [];
  for (const part of statementParts(statement, mode)) add(parts, part);
  const text = textOf(parts);
  return { text: text.length > textMax ? `${text.slice(0, textMax)} ...` : text, digest: sha256(text) };
}

/**
 * Digests of all that a text sent to a server is: of the whole of it, of each statement between its semicolons, and of these without the parentheses
 * around them. Semicolons within the body of a stored program count too.
 */
export function containedDigests(text: string, mode: LexerMode): Set<string> {
  const texts = new Set<string>();
  // Nothing is put together across a semicolon, so that the whole is its statements one after the other.
  const whole: string[] = [];
  let statement: string[] = [];
  const ended = (): void => {
    if (statement.length === 0) return;
    const own = statement.join(' ');
    whole.push(own);
    texts.add(own);
    if (statement[0] === '(') texts.add(withoutParentheses(statement).join(' '));
    statement = [];
  };
  for (const part of statementParts(text, mode)) {
    if (part !== ';') add(statement, part);
    else {
      ended();
      whole.push(part);
    }
  }
  ended();
  return new Set([...texts.add(textOf(whole))].map(sha256));
}

function* statementParts(statement: string, mode: LexerMode): Generator<string> {
  const lexer = new SqlLexer(statement, mode);
  for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
    yield normalised(token, lexer.raw);
    if (token === Token.unterminated) return;
  }
}

function add(parts: string[], part: string): void {
  parts.push(part);
  collapse(parts);
}

function textOf(parts: readonly string[]): string {
  let end = parts.length;
  while (parts[end - 1] === ';') end--;
  return parts.slice(0, end).join(' ');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Of `((a) + (b))` the outer pair goes, of `(a) + (b)` none. */
function withoutParentheses(parts: readonly string[]): readonly string[] {
  let opened = 0;
  while (parts[opened] === '(') opened++;
  let closed = 0;
  while (parts[parts.length - 1 - closed] === ')') closed++;
  // Of those at the beginning, as many go as are still open where the last ones begin.
  let pairs = Math.min(opened, closed);
  let depth = opened;
  for (const part of parts.slice(opened, parts.length - closed)) {
    if (part === '(') depth++;
    else if (part === ')') depth--;
    pairs = Math.min(pairs, depth);
  }
  return parts.slice(pairs, parts.length - pairs);
}

function normalised(token: Token, raw: string): string {
  if (token === Token.string || token === Token.number || token === Token.placeholder || token === Token.unterminated) return '?';
  return token === Token.word || token === Token.systemVariable ? raw.toLowerCase() : raw;
}

const isValue = (part: string | undefined): boolean => part === '?' || part === '...';

/** Looks at the last parts only: `? , ?` is a list, `( ... ) , ( ... )` is one row. */
function collapse(parts: string[]): void {
  const { length } = parts;
  if (isValue(parts[length - 1]) && parts[length - 2] === ',' && isValue(parts[length - 3])) parts.splice(length - 3, 3, '...');
  else if (parts[length - 1] === ')' && isValue(parts[length - 2]) && parts[length - 3] === '(') {
    const before = parts.slice(length - 7, length - 3);
    const isRow = before[3] === ',' && before[2] === ')' && isValue(before[1]) && before[0] === '(';
    if (isRow) parts.splice(length - 7, 7, '(', '...', ')');
    else if (parts[length - 4] === 'in') parts[length - 2] = '...';
  }
}
