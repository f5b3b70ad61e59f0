import type { CommandResult } from '../src/traffic/command-result.js';
import { ReportBuilder } from '../src/traffic/report/report-builder.js';
import type { TrafficReport } from '../src/traffic/report/traffic-report.js';
import { defaultThresholds, judge } from '../src/traffic/report/verdict.js';
import { capture, command, digestOf, replay, result } from './traffic-reports.js';

/** Whoever sends statements chooses their texts, and the names in plans and errors. */
export const hostileTexts = [
  'SELECT * FROM `<script>window.planted = 1</script>` WHERE id = ?',
  'SELECT `"><img src=x onerror="window.planted = 2">` FROM t',
  'SELECT ? FROM `</code></button></th></tr></table><script>window.planted = 3</script>`',
  'SELECT `</script><script>window.planted = 4</script>` FROM `<!--<script>`',
  "SELECT `' onmouseover='window.planted = 5' x='`, `\u2028${'`'}, \`{{constructor.constructor('window.planted = 6')()}}\` FROM t",
  'SELECT `\u202eetihw\u0000\u001b[2J\ud800` FROM `javascript:window.planted=7`',
];

const statements = [
  'SELECT c FROM sbtest1 WHERE id = ?',
  'SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?',
  'SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN ? AND ? ORDER BY c',
  'UPDATE sbtest1 SET k = k + ? WHERE id = ?',
  'DELETE FROM sbtest1 WHERE id = ?',
  'INSERT INTO sbtest1 (id, k, c, pad) VALUES (?, ?, ?, ?)',
  'COMMIT',
  'BEGIN',
];

const thenPlan = `id  type   table   key        extra
1   ref    o       ix_status  Using index condition
1   eq_ref c       PRIMARY
1   ref    l       ix_order   Using where`;
const nowPlan = `id  type   table   key        extra
1   ALL    o                  Using where; Using filesort
1   eq_ref c       PRIMARY
1   ref    l       ix_order   Using where`;

/** The same figures with every call. */
function pseudoRandom(): () => number {
  let state = 42;
  return () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
}

/** A report with everything in it: digests of all kinds, `count` in all, hostile texts, plans, errors. */
export function plantedReport(count = 60, change: Partial<TrafficReport['thresholds']> = {}): TrafficReport {
  const random = pseudoRandom();
  const builder = new ReportBuilder();
  const spread = (medianUs: number): number => Math.round(medianUs * Math.exp((random() + random() + random() - 1.5) * 1.1));
  const add = (text: string, times: number, medianUs: number, factor = 1, other: (index: number) => Partial<CommandResult> = () => ({})): void => {
    for (let index = 0; index < times; index++) {
      const latencyUs = spread(medianUs);
      builder.add(command(text, { then: result({ latencyUs, ordinal: index + 1, rows: 10 }), now: result({ latencyUs: spread(medianUs * factor), rows: 10, ...other(index) }) }));
    }
  };
  statements.forEach((text, index) => add(text, 900 - 70 * index, 160 * 2 ** index, 0.7 + index / 9));
  const orders = 'SELECT o.id, c.name, SUM(l.price * l.quantity) FROM orders o JOIN customers c ON c.id = o.customer_id JOIN lines l ON l.order_id = o.id WHERE o.status = ? AND o.created_at > ? GROUP BY o.id, c.name ORDER BY o.id';
  add(orders, 400, 2_400, 9);
  builder.addPlan(digestOf(orders), orders, { then: thenPlan, now: nowPlan, changed: true });
  builder.addPlan(digestOf(statements[0]!), statements[0]!, { then: 'Point_Get\ttable:sbtest1', now: 'Point_Get\ttable:sbtest1', changed: false });
  add('SELECT balance FROM accounts WHERE id = ?', 300, 300, 1.1, (index) => (index % 20 === 0 ? { unordered: 'other' } : {}));
  add('SELECT name FROM old_view WHERE id = ?', 40, 220, 1, () => ({ errorCode: 1146, rows: 0 }));
  for (let index = 0; index < 12; index++) builder.add(command('INSERT INTO notes (text) VALUES (?)', { then: result({ errorCode: 1406 }) }));
  hostileTexts.forEach((text, index) => add(text, 20, 500, 1, (each) => (each === 0 && index < 2 ? { rows: 11 } : {})));
  builder.addPlan(digestOf(hostileTexts[0]!), hostileTexts[0]!, { then: '</pre><script>window.planted = 8</script>', now: '<script>window.planted = 9</script>', changed: true });
  for (let index = 0; index < 700; index++) builder.add(command('UPDATE accounts SET balance = balance - ? WHERE id = ?', { now: undefined, skipped: 'read-only' }));
  for (let index = 0; index < 5; index++) builder.add(command('SELECT ? FROM dual', { now: undefined, skipped: 'unprepared<img src=x>' }));
  const named = builder.facts(capture, replay).digests.length;
  for (let index = named; index < count; index++) add(`SELECT a${index}, b FROM table_${index} WHERE id = ? AND kind IN (?) LIMIT ?`, 3 + (index % 5), 200 + 7 * index);
  return judge(builder.facts({ ...capture, server: '11.4.5-MariaDB <b>' }, { ...replay, server: '11.8.2-MariaDB', readOnly: true }), { ...defaultThresholds, p95FactorMax: 2, ...change });
}
