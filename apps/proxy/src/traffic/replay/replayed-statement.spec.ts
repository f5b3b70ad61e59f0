import { expect, test } from '@jest/globals';
import { ReplayedStatements, type ReplayedStatement } from './replayed-statement.js';

const mode = { ansiQuotes: false, noBackslashEscapes: false, ansiDoubtful: false };

function examine(statements: ReplayedStatements, text: string, doubtful = false): ReplayedStatement {
  const bytes = Buffer.from(text);
  return statements.of(bytes, 0, bytes.length, { ...mode, ansiDoubtful: doubtful });
}

test('statements that differ in values alone are one', () => {
  const statements = new ReplayedStatements(new Set());
  expect(examine(statements, "SELECT * FROM t WHERE a = 1 AND b = 'x'")).toBe(examine(statements, "SELECT * FROM t WHERE a = 25 AND b = 'yy'"));
  expect(examine(statements, 'SELECT * FROM t WHERE a = 1').digest).not.toBe(examine(statements, 'SELECT * FROM u WHERE a = 1').digest);
});

test('a string that decides what a statement does is never taken for another one', () => {
  const statements = new ReplayedStatements(new Set());
  for (const [harmless, harmful] of [
    ["SET NAMES 'utf8'", "SET NAMES 'gbk'"],
    ["SELECT 1; SET NAMES 'utf8'", "SELECT 1; SET NAMES 'gbk'"],
    ["PREPARE s FROM 'SELECT 1'", "PREPARE s FROM 'DROP TABLE t'"],
  ] as const) {
    expect([harmless, examine(statements, harmless).refusal]).toEqual([harmless, undefined]);
    expect([harmful, examine(statements, harmful).refusal]).toEqual([harmful, expect.any(String)]);
  }
});

test('where it is not known how double quotes are read, a text must be read-only in both ways', () => {
  const text = 'SELECT "a\\"; DELETE FROM t -- "';
  expect(examine(new ReplayedStatements(new Set()), text).refusal).toBeUndefined();
  expect(examine(new ReplayedStatements(new Set()), text, true).refusal).toBe('delete');
});
