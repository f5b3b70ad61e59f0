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
  const lexer = new SqlLexer(statement, mode);
  const parts: string[] = [];
  for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
    parts.push(normalised(token, lexer.raw));
    collapse(parts);
    if (token === Token.unterminated) break;
  }
  while (parts.at(-1) === ';') parts.pop();
  const text = parts.join(' ');
  return { text: text.length > textMax ? `${text.slice(0, textMax)} ...` : text, digest: createHash('sha256').update(text).digest('hex') };
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
