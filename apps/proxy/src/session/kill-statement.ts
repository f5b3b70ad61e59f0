import { SqlLexer, Token, type LexerMode } from '@binnacle/mysql-wire/lexer';

/** KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] number */
export interface KillStatement {
  readonly what: 'connection' | 'query';
  /** MariaDB's HARD and SOFT, as written; empty if not. */
  readonly hardness: string;
  /** The thread id. */
  readonly id: number;
}

/** Longer statements are not looked at: whoever kills says so at once. */
export const killBytesMax = 1_024;

/**
 * Whether a statement may be a KILL, by the first byte that counts: of a text that begins at `at`. Comments may stand before it.
 * True where the byte is not there yet.
 */
export function mayBeKill(chunk: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const byte = chunk[i]!;
    if (byte === 0x4b || byte === 0x6b) return true;
    if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) continue;
    // The beginnings of comments: / - #
    return byte === 0x2f || byte === 0x2d || byte === 0x23;
  }
  return true;
}

/** Undefined for everything else, KILL USER, KILL QUERY ID and several statements at once included: those go to the backend as they are. */
export function parseKill(text: string, mode: LexerMode): KillStatement | undefined {
  const lexer = new SqlLexer(text, mode);
  let word = nextWord(lexer);
  if (word !== 'KILL') return undefined;
  word = nextWord(lexer);
  const hardness = word === 'HARD' || word === 'SOFT' ? word : '';
  if (hardness !== '') word = nextWord(lexer);
  const what = word === 'QUERY' ? 'query' : 'connection';
  if (word === 'QUERY' || word === 'CONNECTION') word = nextWord(lexer);
  if (!/^\d{1,10}$/.test(word) || lexer.sawVersionComment) return undefined;
  const id = Number(word);
  let token = lexer.next();
  while (token === Token.operator && lexer.raw === ';') token = lexer.next();
  return token === Token.end ? { what, hardness, id } : undefined;
}

function nextWord(lexer: SqlLexer): string {
  const token = lexer.next();
  return token === Token.word || token === Token.number ? lexer.raw.toUpperCase() : '';
}

/** The statement for a thread id of the backend. */
export function killText({ what, hardness }: KillStatement, backendThreadId: number): string {
  return `KILL ${hardness === '' ? '' : `${hardness} `}${what.toUpperCase()} ${backendThreadId}`;
}
