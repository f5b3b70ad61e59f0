import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { containedDigests, statementDigest } from './digest.js';
import { lexerMode, SqlLexer, Token, type LexerMode } from './lexer.js';
import { sessionEffects } from './session-effects.js';
import { statementKind } from './statement-kind.js';

const plain: LexerMode = { ansiQuotes: false, noBackslashEscapes: false };

function tokens(text: string, mode = plain): string[] {
  const lexer = new SqlLexer(text, mode);
  const list: string[] = [];
  for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
    list.push(`${Object.entries(Token).find(([, code]) => code === token)![0]} ${lexer.raw}`);
    if (list.length > text.length) throw new Error('the lexer stands still');
  }
  return list;
}

test('words, names, strings, numbers, variables and operators', () => {
  expect(tokens("SELECT `a``b`, 'it''s', \"x\", 1.5e-3, 0x1F, x'41', @a:=?, @@session.sql_mode, t.1a <=> tëst->>'$.k'")).toEqual([
    'word SELECT', 'quotedName `a``b`', 'operator ,', "string 'it''s'", 'operator ,', 'string "x"', 'operator ,', 'number 1.5e-3', 'operator ,',
    'number 0x1F', 'operator ,', "string x'41'", 'operator ,', 'userVariable @a', 'operator :=', 'placeholder ?', 'operator ,',
    'systemVariable @@session.sql_mode', 'operator ,', 'word t', 'operator .', 'word 1a', 'operator <=>', 'word tëst', 'operator ->>', "string '$.k'",
  ]);
  expect(tokens("@'a b' @`c` @@`d`")).toEqual(["userVariable @'a b'", 'userVariable @`c`', 'systemVariable @@`d`']);
});

test('the SQL mode decides what quotes and backslashes are', () => {
  expect(tokens('"a" \'\\\' b\'')).toEqual(['string "a"', "string '\\' b'"]);
  expect(tokens('"a\\" \'\\\' b', lexerMode('STRICT_ALL_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES'))).toEqual(['quotedName "a\\"', "string '\\'", 'word b']);
  expect(lexerMode('ANSI').ansiQuotes).toBe(true);
});

test('comments are passed, what is executed in version comments is not', () => {
  expect(tokens('a -- b\nc #d\ne /* f ; */ g --h\n/*!50701 i */ /*M!100100 j /* k */ */ l--1')).toEqual([
    'word a', 'word c', 'word e', 'word g', 'operator -', 'operator -', 'word h', 'word i', 'word j', 'word l', 'operator -', 'operator -', 'number 1',
  ]);
  expect(tokens('a */ b')).toEqual(['word a', 'operator *', 'operator /', 'word b']);
});

test('what does not end is unterminated', () => {
  for (const text of ["'a", '`a', '/* a', '/*! a', "@'a", "'a\\'"]) expect(tokens(text).at(-1)).toMatch(/^unterminated/);
});

test('any text comes to an end, with every character in order', () => {
  const random = seededRandom(11);
  const pieces = ["'", '"', '`', '\\', '/*', '/*!', '*/', '--', ' ', '\n', '#', '@', '@@', ':=', '.', '1', '0x', 'e', 'select', 'x', '?', ';', '(', ')', '\0', 'ü', ','];
  for (let round = 0; round < 3_000; round++) {
    const text = Array.from({ length: random.below(30) }, () => random.oneOf(pieces)).join('');
    const mode = { ansiQuotes: random.below(2) === 0, noBackslashEscapes: random.below(2) === 0 };
    const lexer = new SqlLexer(text, mode);
    let before = 0;
    for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
      const stands = lexer.end === lexer.start && token !== Token.unterminated;
      if (lexer.start < before || stands) throw new Error(`no way forward in ${JSON.stringify(text)}`);
      before = lexer.end;
    }
    statementDigest(text, mode);
    statementKind(text, mode);
    sessionEffects(text, mode);
  }
});

test('kinds of statements', () => {
  const kinds: [string, string][] = [
    [' /* a */ (SELECT 1)', 'select'], ['insert into t values (1)', 'insert'], ['START TRANSACTION READ ONLY', 'begin'], ['BEGIN', 'begin'],
    ['begin not atomic select 1; end', 'other'], ['WITH a AS (SELECT 1) DELETE FROM t', 'delete'], ['with a (b) as (select 1), c as (select 2) select * from c', 'select'],
    ['/*!40101 SET NAMES utf8 */', 'set'], ['use shop', 'use'], ['REPLACE t VALUES (1)', 'replace'], ['commit', 'commit'], ['Rollback to a', 'rollback'],
    ['create table t (a int)', 'other'], ['', 'other'], ['start slave', 'other'], ['update t set a = 1', 'update'],
  ];
  for (const [text, kind] of kinds) expect([text, statementKind(text, plain)]).toEqual([text, kind]);
});

test('statements that differ in values alone have one digest', () => {
  const text = (statement: string): string => statementDigest(statement, plain).text;
  expect(text("SELECT * FROM t WHERE a IN (1, 2) AND b = 'x' -- why")).toBe('select * from t where a in ( ... ) and b = ?');
  expect(text('INSERT INTO t VALUES (1, NULL), (2, ?)')).toBe('insert into t values ( ? , null ) , ( ... )');
  expect(text("INSERT INTO t VALUES (1,'a'),(2,'b'),(3,'c');")).toBe('insert into t values ( ... )');
  const same = ['select 1 from `T` where a in (1)', 'SELECT  2\nFROM `T` WHERE a IN (3, 4, 5)'].map((statement) => statementDigest(statement, plain).digest);
  expect(same[0]).toBe(same[1]);
  expect(statementDigest('select 1', plain).digest).not.toBe(statementDigest('select a', plain).digest);
});

test('a text has the digests of the statements in it', () => {
  const digest = (statement: string): string => statementDigest(statement, plain).digest;
  const contains = (text: string, statement: string): boolean => containedDigests(text, plain).has(digest(statement));
  const secret = 'SELECT * FROM secret WHERE a = 1';
  for (const text of [secret, `SELECT 1; ${secret}`, `${secret} ; SELECT 1;`, `;;${secret}`, `(${secret})`, `do 1;(( ${secret} )) ;`, `${' '.repeat(70_000)}${secret}`, `/*! ${secret} */`])
    expect([text.trim(), contains(text, secret)]).toEqual([text.trim(), true]);
  for (const text of ['SELECT 1', `SELECT '; ${secret}'`, `-- ; ${secret}`, `(${secret}) LIMIT 1`, `EXPLAIN ${secret}`]) expect([text, contains(text, secret)]).toEqual([text, false]);
  // What is on a list as one text, and what has parentheses of its own.
  expect(contains('SELECT 5; SELECT a', 'select 1;select a')).toBe(true);
  for (const own of ['(SELECT 1) UNION (SELECT a)', '((SELECT 1) UNION (SELECT a))', '(SELECT a)', '(SELECT (a) + (b))']) expect([own, contains(own, own)]).toEqual([own, true]);
  expect(contains('((SELECT 1) UNION (SELECT a))', '(SELECT 1) UNION (SELECT a)')).toBe(true);
  expect(contains('(SELECT (a) + (b))', 'SELECT (a) + (b)')).toBe(true);
  expect(containedDigests('', plain)).toEqual(new Set([digest('')]));
});
