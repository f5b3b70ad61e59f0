import type { DuckSession } from './duck-session.js';
import { parseSerialized } from './query-guard.js';
import { literalOf } from './result-formats.js';

interface PlanNode {
  readonly type?: string;
  readonly children?: readonly PlanNode[];
  readonly names?: readonly string[];
  readonly column_indexes?: readonly { readonly index: number }[];
  readonly function_data?: { readonly files?: readonly string[] };
  readonly [name: string]: unknown;
}

/** Which columns of which Parquet files the queries read, by path: from DuckDB's optimized plan. Undefined where it cannot write the plan down. Rejects on a query that cannot be bound. */
export async function plannedColumns(session: DuckSession, queries: readonly string[]): Promise<Record<string, string[]> | undefined> {
  const columns = new Map<string, Set<string>>();
  for (const sql of queries) {
    const [[text] = []] = await session.rows(`SELECT json_serialize_plan(${literalOf(sql)}, optimize := true)`).catch(() => [[undefined]]);
    const answer = typeof text === 'string' ? (parseSerialized(text) as { error: boolean; plans?: PlanNode[] }) : undefined;
    if (answer?.plans === undefined || answer.error) {
      // Binding says what is wrong with the query in words that point at the place; some plans cannot be written down though nothing is.
      await session.bind(sql);
      return undefined;
    }
    for (const plan of answer.plans) collect(plan, columns);
  }
  return Object.fromEntries([...columns].map(([path, names]) => [path, [...names]]));
}

/** Scans stand anywhere in a plan: below joins, but also inside of expressions and common table expressions. */
function collect(node: unknown, columns: Map<string, Set<string>>): void {
  if (Array.isArray(node)) return node.forEach((element) => collect(element, columns));
  if (typeof node !== 'object' || node === null) return;
  const { type, function_data: data, names = [], column_indexes: indexes = [] } = node as PlanNode;
  if (type === 'LOGICAL_GET') {
    for (const path of data?.files ?? []) {
      const known = columns.get(path) ?? new Set();
      // Numbers behind the columns are what DuckDB makes up itself: the number of a row, say.
      for (const { index } of indexes) if (names[index] !== undefined) known.add(names[index]);
      columns.set(path, known);
    }
  }
  for (const member of Object.values(node)) collect(member, columns);
}
