import { expect, test } from '@jest/globals';
import { StatementExaminer } from './statement-effects.js';
import { statementShape } from './statement-shape.js';

const shapeOf = (text: string): string | undefined => statementShape(Buffer.from(`.${text}`, 'latin1'), 1, text.length + 1);
const mode = { ansiQuotes: false, noBackslashEscapes: false };

test('statements that differ in values have one shape, others do not', () => {
  expect(shapeOf("SELECT a1 FROM t2 WHERE b = 5 AND c IN (16, 'x')")).toBe("SELECT a1 FROM t2 WHERE b = 0 AND c IN (0, ')");
  expect(shapeOf("SELECT 1")).toBe(shapeOf('SELECT 234'));
  expect(shapeOf("SELECT f1()")).not.toBe(shapeOf('SELECT f2()'));
  expect(shapeOf("SELECT 'it''s'")).toBe("SELECT ''");
  expect(shapeOf("INSERT INTO t VALUES ('a', 'b')")).not.toBe(shapeOf("INSERT INTO t VALUES ('a')"));
});

test('what only a lexer can read has no shape', () => {
  for (const text of ["SELECT 'a\\'", 'SELECT "a"', 'SELECT `a`', 'SELECT 1 -- a', 'SELECT 1 # a', 'SELECT /*!1*/ 1', "SELECT 'a", `SELECT '${'x'.repeat(70_000)}' ${'+ a'.repeat(1_000)}`]) expect(shapeOf(text)).toBeUndefined();
});

test('a statement that leaves something behind is examined itself, however much it looks like a known one', () => {
  const examiner = new StatementExaminer();
  const effects = (text: string): string[] => {
    const payload = Buffer.from(text);
    const { effects: found, functions, text: own } = examiner.examineQuery(payload, 0, payload.length, mode);
    if (found.size > 0) expect(own).toBe(text);
    return [...found, ...functions];
  };
  for (let round = 0; round < 2; round++) {
    expect(effects("SELECT GET_LOCK('a', 1)")).toEqual(['advisory-lock']);
    expect(effects("SELECT GET_LOCK('b', 1)")).toEqual(['advisory-lock']);
    expect(effects('SELECT ABS(1), 5')).toEqual([]);
    expect(effects('SELECT ABS(2), 6')).toEqual([]);
    expect(effects("SELECT '; SELECT GET_LOCK(1, 1)'")).toEqual([]);
    expect(effects('SELECT 1st(5)')).toEqual(['1st']);
    expect(effects('SELECT 2nd(5)')).toEqual(['2nd']);
    expect(effects('SELECT NEXT VALUE FOR s')).toEqual(['sequence']);
  }
});

test('a function that somebody has stored meanwhile is seen in a statement that was harmless', () => {
  const examiner = new StatementExaminer();
  const payload = Buffer.from('SELECT BIN_TO_UUID(1)');
  expect(examiner.examineQuery(payload, 0, payload.length, mode, new Set()).functions).toEqual([]);
  expect(examiner.examineQuery(payload, 0, payload.length, mode, new Set(['bin_to_uuid'])).functions).toEqual(['bin_to_uuid']);
});
