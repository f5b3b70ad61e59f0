import { BinnacleError } from '@binnacle/contracts/errors';

/** What a user's SQL is, once it has passed. */
export interface GuardedQuery {
  readonly kind: 'select' | 'explain' | 'explain analyze';
  /** The SELECT itself, without EXPLAIN. */
  readonly select: string;
}

/** `EXPLAIN`, `EXPLAIN ANALYZE` with blanks and comments around; options in parentheses are not taken. */
const explainHead = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*explain\b(\s+analyze\b)?/i;

/** Takes EXPLAIN off: DuckDB serializes SELECT alone. */
export function withoutExplain(sql: string): GuardedQuery {
  const head = explainHead.exec(sql);
  if (head === null) return { kind: 'select', select: sql };
  return { kind: head[1] === undefined ? 'explain' : 'explain analyze', select: sql.slice(head[0].length) };
}

/** Table functions that read nothing but their arguments. */
const tableFunctions: ReadonlySet<string> = new Set(['range', 'generate_series', 'unnest', 'json_each', 'json_tree', 'repeat', 'repeat_row']);

/**
 * Functions that tell of the machine, of the engine or of other sessions, run text as SQL, or change something. Everything else of DuckDB's built-in
 * scalars and aggregates depends on its arguments alone; what is not built in is not there, because nothing can be created or loaded.
 */
const deniedFunctions: ReadonlySet<string> = new Set([
  ...['current_setting', 'set_config', 'getenv', 'getvariable', 'current_query', 'current_query_id', 'current_connection_id', 'current_transaction_id', 'txid_current'],
  ...['current_database', 'current_catalog', 'current_schema', 'current_schemas', 'current_user', 'current_role', 'session_user', 'user', 'in_search_path'],
  ...['nextval', 'currval', 'setseed', 'write_log', 'parse_duckdb_log_message', 'sleep_ms', 'stats', 'vector_type', 'version', 'get_block_size', 'create_sort_key'],
  ...['json_serialize_sql', 'json_serialize_plan', 'json_deserialize_sql', 'json_execute_serialized_sql', 'query', 'query_table', 'sql_auto_complete'],
  ...['cast_to_type', 'replace_type', 'can_cast_implicitly', 'alias', 'bind', 'invoke', 'finalize', 'combine'],
]);
const deniedFunctionNames = /^(pg_|duckdb_|pragma_|has_.*_privilege$|inet_|col_description$|obj_description$|shobj_description$|__internal|read_|sniff_|which_|st_|icu_calendar)/;

/** What DuckDB's parser may have made of a query; anything else is refused, also what later versions bring. */
const queryNodes: ReadonlySet<string> = new Set(['SELECT_NODE', 'SET_OPERATION_NODE', 'RECURSIVE_CTE_NODE', 'CTE_NODE']);
const tableNodes: ReadonlySet<string> = new Set(['BASE_TABLE', 'SUBQUERY', 'JOIN', 'TABLE_FUNCTION', 'EXPRESSION_LIST', 'EMPTY', 'PIVOT']);
const expressionClasses: ReadonlySet<string> = new Set([
  ...['CASE', 'CAST', 'COLLATE', 'COLUMN_REF', 'COMPARISON', 'CONJUNCTION', 'CONSTANT', 'DEFAULT', 'FUNCTION', 'OPERATOR', 'STAR', 'SUBQUERY', 'WINDOW'],
  ...['LAMBDA', 'LAMBDA_REF', 'BETWEEN', 'POSITIONAL_REFERENCE', 'TYPE'],
]);

/** Parts of these: orders, limits, descriptions of types. What has a type and is none of them stands after FROM. */
const plainNodes = /(_MODIFIER|_TYPE_INFO)$|^(ORDER_DEFAULT|ASCENDING|DESCENDING|INVALID)$/;

/** Deeper ones are of use to nobody, and everything that walks them recurses. */
const depthMax = 200;
const nodesMax = 50_000;

interface AstNode {
  readonly [name: string]: unknown;
}

/** Reads what `json_serialize_sql` says of a SELECT, and refuses what is not plainly a question about tables. Resolves tables to the names they were given. */
export class QueryGuard {
  readonly #tables = new Set<string>();
  #nodes = 0;

  /** The tables the query reads, as it names them. Throws BAD_REQUEST that says what is not allowed. */
  static tablesOf(serialized: string): string[] {
    const answer = parseSerialized(serialized) as { error: boolean; error_type?: string; error_message?: string; statements?: AstNode[] };
    if (answer.error) {
      throw refused(answer.error_type === 'parser' ? `${answer.error_message}` : 'Only one SELECT, or EXPLAIN of one, can be run.');
    }
    if (answer.statements?.length !== 1) throw refused('Only one statement can be run.');
    const guard = new QueryGuard();
    guard.#statement(answer.statements[0] as AstNode);
    return [...guard.#tables];
  }

  #statement(statement: AstNode): void {
    if (!isEmptyList(statement['named_param_map'])) throw refused('Parameters are not supported: write the values.');
    this.#query(statement['node'], new Set(), 0);
  }

  /** `scope`: the common table expressions that can be seen, in lower case. */
  #query(node: unknown, scope: ReadonlySet<string>, depth: number): void {
    if (!isNode(node)) return;
    this.#count(depth);
    const type = String(node['type']);
    if (!queryNodes.has(type)) throw notAllowed(type);
    let inner = scope;
    for (const { key, value } of cteEntries(node)) {
      // In its own query the name is what it was outside; a recursive one's second half adds it to its scope below.
      this.#walk(value, inner, depth + 1);
      inner = new Set([...inner, key.toLowerCase()]);
    }
    const itself = new Set([...inner, String(node['cte_name']).toLowerCase()]);
    for (const [member, value] of Object.entries(node)) {
      if (member === 'cte_map') continue;
      const seesItself = (type === 'RECURSIVE_CTE_NODE' && member === 'right') || (type === 'CTE_NODE' && member === 'child');
      this.#walk(value, seesItself ? itself : inner, depth + 1);
    }
  }

  #walk(value: unknown, scope: ReadonlySet<string>, depth: number): void {
    if (Array.isArray(value)) {
      for (const element of value) this.#walk(element, scope, depth);
      return;
    }
    if (!isNode(value)) return;
    this.#count(depth);
    const { type, class: expressionClass } = value;
    if (typeof expressionClass === 'string') this.#expression(value, expressionClass);
    else if (typeof type === 'string' && type.endsWith('_NODE')) return this.#query(value, scope, depth);
    else if (typeof type === 'string' && !plainNodes.test(type)) this.#table(value, scope);
    for (const member of Object.values(value)) this.#walk(member, scope, depth + 1);
  }

  #expression(node: AstNode, expressionClass: string): void {
    if (!expressionClasses.has(expressionClass)) throw notAllowed(expressionClass);
    if (expressionClass !== 'FUNCTION' && expressionClass !== 'WINDOW') return;
    checkPlace(node['catalog'], node['schema']);
    const name = String(node['function_name']).toLowerCase();
    if (deniedFunctions.has(name) || deniedFunctionNames.test(name)) throw refused(`The function ${name} cannot be used.`);
  }

  #table(node: AstNode, scope: ReadonlySet<string>): void {
    const type = String(node['type']);
    if (!tableNodes.has(type)) throw notAllowed(type === 'SHOW_REF' ? 'DESCRIBE, SHOW or SUMMARIZE' : type);
    if (type === 'TABLE_FUNCTION') {
      const called = node['function'] as AstNode;
      const name = String(called['function_name']).toLowerCase();
      if (!tableFunctions.has(name)) throw refused(`The table function ${name} cannot be used.`);
    }
    if (type !== 'BASE_TABLE') return;
    if (node['at_clause'] !== null && node['at_clause'] !== undefined) throw notAllowed('AT');
    const { catalog_name: catalog, schema_name: schema, table_name: name } = node;
    checkPlace(catalog, schema);
    if (schema === '' && scope.has(String(name).toLowerCase())) return;
    this.#tables.add(String(name));
  }

  #count(depth: number): void {
    if (depth > depthMax || ++this.#nodes > nodesMax) throw refused('The query is too deep or too long.');
  }
}

/** DuckDB writes numbers that JSON does not have. */
export function parseSerialized(text: string): unknown {
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity|nan|inf)\b/g, (token) => (token.startsWith('"') ? token : 'null')));
}

function checkPlace(catalog: unknown, schema: unknown): void {
  if ((catalog ?? '') !== '' || !['', 'main'].includes(String(schema ?? ''))) throw refused('Tables and functions are named without a database or schema.');
}

function cteEntries(node: AstNode): { key: string; value: AstNode }[] {
  return ((node['cte_map'] as { map?: { key: string; value: AstNode }[] } | undefined)?.map ?? []).map(({ key, value }) => ({ key, value }));
}

function isNode(value: unknown): value is AstNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmptyList(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}

function notAllowed(what: string): BinnacleError {
  return refused(`${what.replaceAll('_', ' ')} cannot be used in a query.`);
}

function refused(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
