import { expect, test } from '@jest/globals';
import { planShape } from './plan-shape.js';
import { encodePlans, parsePlans } from './plans-file.js';
import { statementWithValues } from './statement-values.js';

const mode = { ansiQuotes: false, noBackslashEscapes: false };
const row = (...values: (string | null)[]): (Buffer | null)[] => values.map((value) => (value === null ? null : Buffer.from(value)));

test('a plan is its operators, tables and keys: estimates do not make it another one', () => {
  const columns = ['id', 'select_type', 'table', 'type', 'possible_keys', 'key', 'key_len', 'ref', 'rows', 'Extra'];
  const plan = planShape(columns, [row('1', 'SIMPLE', 'items', 'ref', 'i,j', 'i', '5', 'const', '10', 'Using where')]);
  expect(plan).toBe('1 SIMPLE items ref key=i Using where');
  expect(planShape(columns, [row('1', 'SIMPLE', 'items', 'ref', 'i', 'i', '5', 'const', '99', 'Using where')])).toBe(plan);
  expect(planShape(columns, [row('1', 'SIMPLE', 'items', 'ALL', null, null, null, null, '99', 'Using where')])).not.toBe(plan);
});

test('the operators of TiDB have no numbers and no estimates', () => {
  const columns = ['id', 'estRows', 'task', 'access object', 'operator info'];
  expect(planShape(columns, [row('TableReader_7', '10000.00', 'root', '', 'data:TableFullScan_6'), row('└─TableFullScan_6', '10000.00', 'cop[tikv]', 'table:t', 'keep order:false, stats:pseudo')])).toBe(
    'TableReader root data:TableFullScan\n└─TableFullScan cop[tikv] table:t keep order:false',
  );
});

/** Head, NULL bitmap, types, values. */
function execution(nulls: number, types: number[], ...values: Buffer[]): Buffer {
  return Buffer.concat([Buffer.alloc(9), Buffer.from([nulls, 1, ...types.flatMap((type) => [type & 0xff, type >> 8])]), ...values]);
}

test('values stand where the question marks were, and nowhere else', () => {
  const int = Buffer.alloc(8);
  int.writeBigInt64LE(-5n);
  const text = Buffer.from("\u{6}it's ?");
  const sql = statementWithValues("SELECT '?' FROM t WHERE a = ? AND b = ? AND c = ? -- ?", execution(4, [8, 0xfd, 6], int, text), mode);
  expect(sql).toBe("SELECT '?' FROM t WHERE a = -5 AND b = 'it''s ?' AND c = NULL -- ?");
});

test('an execution whose values cannot be written without doubt is left out', () => {
  expect(statementWithValues('SELECT ?', execution(0, [0xfd], Buffer.from('\u{2}a\\')), mode)).toBeUndefined();
  expect(statementWithValues('SELECT ?', Buffer.from([...Buffer.alloc(9), 0, 0]), mode)).toBeUndefined();
  expect(statementWithValues('SELECT ?', execution(0, [8], Buffer.alloc(3)), mode)).toBeUndefined();
});

test('a file of plans is read as it was written, and a damaged one is refused', () => {
  const digest = 'a'.repeat(64);
  expect([...parsePlans(encodePlans([{ digest, text: 'select ?', plan: 'p' }]))]).toEqual([[digest, 'p']]);
  for (const bad of ['', 'null', '{}', '{"plans":[null]}', '{"plans":[{"digest":"x","plan":"y"}]}']) expect(() => parsePlans(bad)).toThrow();
});
