import { SqlLexer, Token, type LexerMode } from './lexer.js';

/** The label `sql_type` of the interaction metrics. */
export type StatementKind = 'select' | 'insert' | 'update' | 'delete' | 'replace' | 'begin' | 'commit' | 'rollback' | 'set' | 'use' | 'other';

const kinds = new Set<string>(['select', 'insert', 'update', 'delete', 'replace', 'begin', 'commit', 'rollback', 'set', 'use']);
/** How many tokens of WITH are looked at before it is called `other`. */
const tokensMax = 2_000;

/**
 * By the first word of the first statement. WITH counts as what follows its tables, START TRANSACTION as `begin`; parentheses
 * before SELECT are passed; a bare VALUES or TABLE is `other`.
 */
export function statementKind(text: string, mode: LexerMode): StatementKind {
  const lexer = new SqlLexer(text, mode);
  let token = lexer.next();
  while (token === Token.operator && (lexer.raw === '(' || lexer.raw === ';')) token = lexer.next();
  if (token !== Token.word) return 'other';
  const word = lexer.raw.toLowerCase();
  if (word === 'start') return lexer.next() === Token.word && lexer.raw.toLowerCase() === 'transaction' ? 'begin' : 'other';
  if (word === 'with') return behindTables(lexer);
  // In a stored program's text BEGIN opens a block, but no client sends one alone; BEGIN NOT ATOMIC of MariaDB is one.
  if (word === 'begin') return lexer.next() === Token.word && lexer.raw.toLowerCase() === 'not' ? 'other' : 'begin';
  return kinds.has(word) ? (word as StatementKind) : 'other';
}

function behindTables(lexer: SqlLexer): StatementKind {
  let depth = 0;
  for (let count = 0; count < tokensMax; count++) {
    const token = lexer.next();
    if (token === Token.end || token === Token.unterminated) return 'other';
    if (token === Token.operator && lexer.raw === '(') depth++;
    else if (token === Token.operator && lexer.raw === ')') depth--;
    else if (token === Token.word && depth === 0) {
      const word = lexer.raw.toLowerCase();
      if (word === 'select' || word === 'insert' || word === 'update' || word === 'delete' || word === 'replace') return word;
    }
  }
  return 'other';
}
