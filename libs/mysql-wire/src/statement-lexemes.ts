import { SqlLexer, Token, type LexerMode } from './lexer.js';

/** One token of a statement, in the form in which it is compared. */
export interface Lexeme {
  readonly token: Token;
  /** Words and names in lower case, names without their quotes; strings as written. */
  readonly text: string;
  /** How many parentheses are open around it; a parenthesis is outside of itself. */
  readonly depth: number;
}

export interface StatementLexemes {
  /** Those that say something: what is only comments and semicolons is none. */
  readonly statements: readonly (readonly Lexeme[])[];
  /** Some of it came out of a version comment: whether it counts depends on the server. */
  readonly versionComment: boolean;
}

/** A text with more is not understood. */
const tokensMax = 100_000;

/** Undefined where a string or comment does not end, or the text is too long: it may mean anything. */
export function statementLexemes(text: string, mode: LexerMode): StatementLexemes | undefined {
  const lexer = new SqlLexer(text, mode);
  const statements: Lexeme[][] = [];
  let statement: Lexeme[] = [];
  let depth = 0;
  for (let count = 0; ; count++) {
    const token = lexer.next();
    if (token === Token.unterminated || count > tokensMax) return undefined;
    const { raw } = lexer;
    const ends = token === Token.end || (token === Token.operator && raw === ';');
    if (ends && statement.length > 0) {
      statements.push(statement);
      statement = [];
      depth = 0;
    }
    if (token === Token.end) break;
    if (ends) continue;
    if (token === Token.operator && raw === ')') depth--;
    statement.push({ token, text: comparable(token, raw), depth });
    if (token === Token.operator && raw === '(') depth++;
  }
  return { statements, versionComment: lexer.sawVersionComment };
}

function comparable(token: Token, raw: string): string {
  if (token === Token.quotedName) return unquoted(raw).toLowerCase();
  return token === Token.string || token === Token.number ? raw : raw.toLowerCase();
}

function unquoted(raw: string): string {
  const quote = raw[0]!;
  return raw.slice(1, -1).replaceAll(quote + quote, quote);
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', Z: '\u{1a}', 0: '\0' };

/** What a string literal says; undefined for `x'41'`, `b'01'` and `n'text'`. */
export function literalText(raw: string, mode: LexerMode): string | undefined {
  if (raw[0] !== "'" && raw[0] !== '"') return undefined;
  const text = unquoted(raw);
  return mode.noBackslashEscapes ? text : text.replace(/\\([^])/g, (_, character: string) => escapes[character] ?? character);
}

/**
 * A word as other readers may split it: in some character sets what is not ASCII is a space, and MySQL reads `1e5into` as a number and a word.
 * The word itself where there is no doubt.
 */
export function possibleWords(word: string): readonly string[] {
  if (!/^\d|[^\0-\x7f]/.test(word)) return [word];
  return word.split(/[^\0-\x7f]+/).flatMap((part) => {
    const behindNumber = part.replace(/^\d+e\d+/, '');
    return behindNumber === part ? [part] : [part, behindNumber];
  });
}

/** A name within an optimizer hint may be quoted, and hold what looks like the comment's end: then nobody but that server knows where it is. */
export function hasQuotesInHint(text: string): boolean {
  for (let at = text.indexOf('/*+'); at !== -1; ) {
    const end = text.indexOf('*/', at);
    if (/["'`\\]/.test(text.slice(at, end === -1 ? undefined : end))) return true;
    if (end === -1) return false;
    at = text.indexOf('/*+', end);
  }
  return false;
}

/** As a server reads it that passes the version comments. */
export function withoutVersionComments(text: string): string {
  let kept = '';
  let from = 0;
  for (const opening of text.matchAll(/\/\*(?:M?!|T!)/g)) {
    if (opening.index < from) continue;
    const end = text.indexOf('*/', opening.index);
    if (end === -1) break;
    kept += `${text.slice(from, opening.index)} `;
    from = end + 2;
  }
  return kept + text.slice(from);
}
