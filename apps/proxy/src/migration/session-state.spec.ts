import { expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import type { OkPacket } from '@binnacle/mysql-wire/ok-packet';
import type { SessionChange } from '@binnacle/mysql-wire/session-changes';
import { SessionState } from './session-state.js';
import { StatementExaminer } from './statement-effects.js';

const none: ReadonlySet<string> = new Set();

function armedState(allowed: { functions?: readonly string[]; procedures?: readonly string[] } = {}): SessionState {
  const state = new SessionState({
    kind: 'mariadb', capabilities: 0, collation: 45, database: 'test', statusFlags: 2, examiner: new StatementExaminer(), storedFunctions: () => none,
    allowedFunctions: new Set(allowed.functions), allowedProcedures: new Set(allowed.procedures),
  });
  state.onArmed();
  return state;
}

const ok = (...changes: SessionChange[]): OkPacket => ({ header: 0, affectedRows: 0n, lastInsertId: 0n, statusFlags: 2, warnings: 0, info: Buffer.alloc(0), changes });

function sends(state: SessionState, text: string, command: number = Command.query): void {
  const payload = Buffer.concat([Buffer.from([command]), Buffer.from(text)]);
  state.onCommand(command, payload, 0, payload.length, false);
}

function runs(state: SessionState, text: string, ...changes: SessionChange[]): string[] {
  sends(state, text);
  if (changes.length > 0) state.onOk(ok(...changes));
  state.onResult(0, 2, 0, 0, 0);
  return state.blockers().map(({ code }) => code);
}

test('a change that no statement explains keeps the session; one that is explained does not', () => {
  const changed = { kind: 'state', changed: true } as const;
  expect(runs(armedState(), 'SET @a = 1', changed)).toEqual([]);
  expect(runs(armedState(), 'USE other', changed, { kind: 'schema', name: 'other' })).toEqual([]);
  expect(runs(armedState(), 'DO 1', changed)).toEqual(['unknown-change']);
  expect(runs(armedState(), 'SELECT 1', { kind: 'unknown', type: 9, data: Buffer.alloc(0) })).toEqual(['unknown-change']);
});

test('of a command behind one that is not answered yet every meaning counts', () => {
  const state = armedState();
  sends(state, "SET sql_mode='ANSI_QUOTES'");
  sends(state, `SELECT "a\\", GET_LOCK('x', 1) -- "`);
  state.onOk(ok({ kind: 'systemVariable', name: 'sql_mode', value: 'ANSI_QUOTES' }));
  state.onResult(0, 2, 0, 0, 0);
  state.onResult(0, 2, 0, 0, 0);
  expect(state.blockers().map(({ code }) => code)).toContain('advisory-lock');
});

test('a statement behind a change to a character set in which quotes cannot be found was not read', () => {
  const state = armedState();
  sends(state, 'SET NAMES gbk');
  sends(state, 'SELECT 1');
  state.onOk(ok({ kind: 'systemVariable', name: 'character_set_client', value: 'gbk' }));
  state.onResult(0, 2, 0, 0, 0);
  state.onResult(0, 2, 0, 0, 0);
  expect(runs(state, 'SET NAMES utf8mb4', { kind: 'systemVariable', name: 'character_set_client', value: 'utf8mb4' })).toContain('not-read');
});

test('functions and procedures that the operator knows do not keep a session', () => {
  const state = armedState({ functions: ['shop.tax', 'price'], procedures: ['pay'] });
  expect(runs(state, 'SELECT shop.tax(1), other.price(2)')).toEqual([]);
  expect(runs(state, 'CALL shop.pay(1)', { kind: 'state', changed: true })).toEqual([]);
  expect(runs(state, 'SELECT other.tax(1)')).toEqual(['function']);
});

test('a reset ends everything, and the trackers have to be armed again', () => {
  const state = armedState();
  runs(state, "SELECT GET_LOCK('a', 1)");
  runs(state, 'CREATE TEMPORARY TABLE t (a INT)');
  expect(runs(state, 'CALL p()')).toEqual(['temporary-table', 'advisory-lock', 'procedure']);
  sends(state, '', Command.resetConnection);
  state.onResult(0, 2, 0, 0, 0);
  expect(state.needsArming).toBe(true);
  expect(state.atRest).toBe(false);
  expect(state.blockers().map(({ code }) => code)).toEqual(['busy']);
  state.needsArming = false;
  state.onArmed();
  expect([state.blockers(), state.atRest]).toEqual([[], true]);
});

test('a temporary table is given up only by a statement that names it alone', () => {
  const given = (...texts: string[]): string[] => {
    const state = armedState();
    return texts.flatMap((text, index) => (index === texts.length - 1 ? runs(state, text) : (runs(state, text), [])));
  };
  const create = 'CREATE TEMPORARY TABLE a (b INT)';
  expect(given(create, 'DROP TEMPORARY TABLE a')).toEqual([]);
  expect(given(create, 'DROP TEMPORARY TABLE `test`.`a` ;')).toEqual([]);
  expect(given('DROP TEMPORARY TABLE IF EXISTS a, b')).toEqual([]);
  expect(given(create, 'DROP TEMPORARY TABLE b')).toEqual(['temporary-table']);
  expect(given(create, 'DROP TEMPORARY TABLE a, b')).toEqual(['temporary-table']);
  expect(given(create, 'DROP TEMPORARY TABLE other.a')).toEqual(['temporary-table']);
  expect(given(create, '/*!99999 DROP TEMPORARY TABLE a */')).toEqual(['temporary-table']);
  expect(given('CREATE TEMPORARY TABLE `test.a` (b INT)', create, 'DROP TEMPORARY TABLE a')).toEqual(['temporary-table']);
  expect(given(`${create}; SELECT 1`, 'DROP TEMPORARY TABLE a')).toEqual(['temporary-table']);
});

test('what fails opens nothing and closes nothing', () => {
  const state = armedState();
  sends(state, 'CREATE TEMPORARY TABLE a (b INT)');
  state.onResult(1_050, 2, 0, 0, 0);
  state.statusIs(2);
  expect(state.held.held().size).toBe(0);
  runs(state, 'HANDLER t OPEN');
  sends(state, 'HANDLER t CLOSE');
  state.onResult(1_109, 2, 0, 0, 0);
  expect([...state.held.held().keys()]).toEqual(['handler']);
});

test('a lock is one whether the statement that took it fails or not, until the server is asked', () => {
  const fails = (text: string): SessionState => {
    const state = armedState();
    sends(state, text);
    state.onResult(1_969, 2, 0, 0, 0);
    return state;
  };
  expect(fails("SELECT GET_LOCK('a', 5)").held.doubtfulLocks).toEqual(['a']);
  expect([...fails("SELECT GET_LOCK('a', 0), SLEEP(9)").held.held().keys()]).toEqual(['advisory-lock']);
  expect([...fails('SELECT GET_LOCK(n, 0), (SELECT 1 UNION SELECT 2) FROM t').held.held().keys()]).toEqual(['advisory-lock']);
});

test('names keep what stands within their quotes, and comments hide no other name', () => {
  const state = armedState();
  runs(state, 'CREATE TEMPORARY TABLE `a b` (c INT)');
  runs(state, 'CREATE TEMPORARY TABLE ab (c INT)');
  expect(runs(state, 'DROP TEMPORARY TABLE ab')).toEqual(['temporary-table']);
  expect(runs(state, 'DROP TEMPORARY TABLE test . `a b`')).toEqual([]);
  runs(state, 'CREATE TEMPORARY TABLE a (c INT)');
  runs(state, '/* why */ ALTER TABLE a RENAME TO b');
  expect(runs(state, 'DROP TEMPORARY TABLE IF EXISTS a')).toEqual(['temporary-table']);
});

test('a variable that nobody can set again is known by the name that the server reports', () => {
  expect(runs(armedState(), 'INSERT INTO t VALUES (1)', { kind: 'systemVariable', name: 'insert_id', value: '5' })).toEqual(['unreplayable-variable']);
});

test('what the server could not even read leaves nothing behind, unless it may have come from within', () => {
  const stays = (text: string, errorCode = 1_064): boolean => {
    const state = armedState();
    sends(state, text);
    state.onResult(errorCode, 2, 0, 0, 0);
    return state.blockers().some(({ code }) => code !== 'diagnostics');
  };
  for (const text of ['SELEC nonsense', 'nonsense(1, 2) ;']) expect([text, stays(text)]).toEqual([text, false]);
  for (const text of ['EXECUTE s', 'SET STATEMENT max_statement_time=1 FOR SELECT 1', 'BEGIN NOT ATOMIC SELECT 1; END', 'DO 1; SELEC', "SELEC 'a", 'SELEC /*!99999 1 */', 'SELEC -- 1']) expect([text, stays(text)]).toEqual([text, true]);
  expect(stays('SELEC nonsense', 0)).toBe(true);
});

test('ordinary statements leave nothing to wait for and nothing behind', () => {
  const state = armedState();
  for (const text of ['SELECT a FROM t WHERE b = 1', 'BEGIN', "UPDATE t SET a = 'x'", 'COMMIT', 'SHOW TABLES']) expect(runs(state, text)).toEqual([]);
  expect(state.atRest).toBe(true);
});

test('warnings stay until a statement uses a table, and asking for them ends nothing', () => {
  const state = armedState();
  const warns = (text: string, warnings: number): boolean => {
    sends(state, text);
    state.onResult(0, 2, warnings, 0, 0);
    return state.blockers().some(({ code }) => code === 'diagnostics');
  };
  expect(warns('SELECT 1/0', 1)).toBe(true);
  for (const text of ['SHOW WARNINGS', 'SELECT 1', 'DO 1', 'BEGIN', 'SELECT 1 FROM DUAL', "SELECT ' from t'", 'SELECT TRIM(BOTH FROM a)']) expect([text, warns(text, 0)]).toEqual([text, true]);
  for (const text of ['SELECT COUNT(*) FROM t', "UPDATE t SET a = 'x'", 'SHOW TABLES', 'CREATE TEMPORARY TABLE t (a INT)']) {
    expect(warns('SELECT 1/0', 1)).toBe(true);
    expect([text, warns(text, 0)]).toEqual([text, false]);
  }
});
