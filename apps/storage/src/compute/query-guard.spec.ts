import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { computeTable } from '../../test/compute-table.js';
import { TestableCompute } from '../../test/testable-compute.js';

let compute: TestableCompute;
const mine = computeTable(1, { title: 'string' });
const theirs = computeTable(2, { secret: 'string' }, 2, { keyspace: 7, name: 'theirs' });

beforeAll(async () => {
  compute = await TestableCompute.open({ tables: [mine, theirs], limits: { timeoutMs: 10_000 } });
  await compute.put(mine, { id: 'a', title: 'one' });
  await compute.put(theirs, { id: 'x', secret: 'HIDDEN' });
  await compute.upload();
});

afterAll(async () => {
  await compute.close();
});

const hostile = (folder: string): string[] => {
  const segment = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.parquet')) ?? '';
  const file = `${folder}/${segment}`;
  return [
    // Other tables and files.
    'SELECT * FROM theirs',
    'SELECT * FROM main.theirs',
    'SELECT * FROM memory.main.table1',
    'SELECT * FROM inner_parts.fresh_1',
    'SELECT * FROM inner_parts.fresh_2',
    `SELECT * FROM '${file}'`,
    `SELECT * FROM "${file}"`,
    `FROM '/etc/passwd'`,
    `SELECT * FROM read_parquet('${file}')`,
    `SELECT * FROM parquet_scan('${file}')`,
    `SELECT * FROM parquet_metadata('${file}')`,
    `SELECT * FROM parquet_schema('${file}')`,
    `SELECT * FROM parquet_kv_metadata('${file}')`,
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_ndjson_objects('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM 'https://127.0.0.1:1/x.parquet'",
    "SELECT * FROM read_duckdb('/tmp/x.db')",
    'SELECT (SELECT string_agg(content) FROM read_text(\'/etc/passwd\'))',
    "SELECT * FROM table1 WHERE title IN (SELECT content FROM read_text('/etc/hosts'))",
    "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
    "WITH x AS MATERIALIZED (SELECT * FROM glob('*')) SELECT 1",
    "SELECT 1 UNION ALL SELECT size FROM read_text('/etc/passwd')",
    "SELECT 1 ORDER BY (SELECT count(*) FROM glob('/*'))",
    "SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))",
    "SELECT * FROM table1, LATERAL (SELECT * FROM read_text('/etc/passwd')) AS t",
    "SELECT * FROM (PIVOT read_text('/etc/passwd') ON filename IN ('a') USING first(content))",
    "SELECT CASE WHEN true THEN (SELECT content FROM read_text('/etc/passwd')) END",
    "SELECT list_transform([1], lambda x: (SELECT count(*) FROM glob('/*')))",
    "SELECT count(*) FILTER (WHERE (SELECT count(*) FROM glob('/*')) > 0) FROM table1",
    "SELECT sum(1) OVER (ORDER BY (SELECT count(*) FROM glob('/*'))) FROM table1",
    // What the engine and the machine are like.
    'SELECT * FROM information_schema.tables',
    'SELECT * FROM information_schema.columns',
    'SELECT * FROM pg_catalog.pg_class',
    'SELECT * FROM pg_class',
    'SELECT * FROM pg_tables',
    'SELECT * FROM sqlite_master',
    'SELECT * FROM duckdb_tables',
    'SELECT * FROM duckdb_views()',
    'SELECT * FROM duckdb_settings()',
    'SELECT * FROM duckdb_secrets()',
    'SELECT * FROM duckdb_databases()',
    'SELECT * FROM duckdb_functions()',
    'SELECT * FROM duckdb_temporary_files()',
    'SELECT * FROM duckdb_external_file_cache()',
    'SELECT * FROM duckdb_logs()',
    "SELECT * FROM which_secret('x', 's3')",
    "SELECT current_setting('allowed_paths')",
    "SELECT getenv('HOME')",
    "SELECT getvariable('x')",
    'SELECT current_query()',
    "SELECT pg_get_viewdef(1)",
    "SELECT set_config('threads', '8', false)",
    "SELECT write_log('x')",
    "SELECT nextval('s')",
    'SELECT sleep_ms(100000)',
    "SELECT * FROM pragma_table_info('table1')",
    "SELECT * FROM pragma_database_size()",
    'SHOW TABLES',
    'SHOW ALL TABLES',
    'DESCRIBE table1',
    'SUMMARIZE table1',
    'SELECT * FROM (SHOW DATABASES)',
    'SELECT * FROM (DESCRIBE SELECT 1)',
    // Text run as SQL.
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('duckdb_settings')",
    "SELECT * FROM query_table(['table1', 'theirs'])",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    "SELECT json_serialize_plan('SELECT * FROM table1')",
    "SELECT json_serialize_sql('SELECT 1')",
    "SELECT * FROM sql_auto_complete('SEL')",
    // Anything that is no question.
    "COPY table1 TO '/tmp/hostile.csv'",
    "COPY (SELECT 1) TO '/tmp/hostile.csv'",
    "EXPORT DATABASE '/tmp/hostile'",
    "ATTACH '/tmp/hostile.db'",
    'DETACH memory',
    'INSTALL httpfs',
    'LOAD httpfs',
    "SET threads = 8",
    'RESET enable_external_access',
    'PRAGMA database_list',
    "CALL pragma_version()",
    'CREATE TABLE x (a INTEGER)',
    "CREATE MACRO m(a) AS TABLE SELECT * FROM read_text(a)",
    'CREATE OR REPLACE VIEW table1 AS SELECT 1',
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO inner_parts.fresh_1 VALUES ('a', 1, '{}')",
    'DROP VIEW table1',
    'DELETE FROM table1',
    'PREPARE p AS SELECT 1',
    'EXECUTE p',
    'BEGIN',
    'CHECKPOINT',
    'VACUUM',
    'USE main',
    "IMPORT DATABASE '/tmp'",
    "COMMENT ON VIEW table1 IS 'x'",
    'PIVOT table1 ON title USING count(*)',
    'EXPLAIN CREATE TABLE x (a INTEGER)',
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/hostile.csv'",
    "EXPLAIN (FORMAT json) SELECT 1",
    'EXPLAIN EXPLAIN SELECT 1',
    // More than one, or hidden behind comments, quotes and scopes.
    'SELECT 1; SELECT 2',
    "SELECT 1; COPY (SELECT 1) TO '/tmp/hostile.csv'",
    "SELECT 1 --\n; INSTALL httpfs",
    "/* SELECT 1 */ INSTALL httpfs",
    "EXPLAIN /* */ ANALYZE SELECT * FROM read_text('/etc/passwd')",
    'SELECT * FROM "duckdb_settings"',
    'SELECT * FROM DuckDB_Settings',
    'SELECT * FROM duckdb_settings, (WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings) AS t',
    'WITH duckdb_settings AS (SELECT * FROM duckdb_settings) SELECT * FROM duckdb_settings',
    'WITH RECURSIVE pg_class AS (SELECT * FROM pg_class UNION ALL SELECT * FROM pg_class) SELECT * FROM pg_class',
    "WITH RECURSIVE \"/etc/passwd\" AS (SELECT * FROM \"/etc/passwd\" UNION ALL SELECT 1) SELECT * FROM \"/etc/passwd\"",
    'SELECT system.main.current_setting(\'threads\')',
    "SELECT * FROM system.main.read_text('/etc/passwd')",
    'SELECT * FROM table1 AT (VERSION => 1)',
    'SELECT $1',
    'SELECT ?',
    'SELECT * FROM nothing_here',
    '',
    ';',
    'SELECT \0',
    // What is too much.
    `SELECT ${'('.repeat(100_000)}1${')'.repeat(100_000)}`,
    `SELECT ${'1+'.repeat(5_000)}1`,
    `SELECT ${'['.repeat(500)}1${']'.repeat(500)}`,
    "SELECT length(repeat('a', 4000000000))",
    'SELECT len(range(1000000000))',
    "SELECT length(lpad('', 2000000000, 'x'))",
    "SELECT length(string_agg(repeat('x', 1000000), '')) FROM range(100000)",
    "WITH RECURSIVE t AS (SELECT 'aaaaaaaa' AS s UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    'WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n FROM t) SELECT count(*) FROM t',
    'SELECT count(*) FROM range(1000000000) AS a ORDER BY hash(a) LIMIT 1',
  ];
};

test('hostile queries are refused one and all, and what they are told names no path', async () => {
  const queries = hostile(compute.folder);
  expect(queries.length).toBeGreaterThan(120);
  const answered: string[] = [];
  const told: string[] = [];
  for (const sql of queries) {
    const answer = await compute.text(sql).catch((error: Error & { code?: string }) => {
      // What a query says itself may be said back to it.
      told.push(sql.includes(compute.folder) ? error.message.replaceAll(sql.slice(sql.indexOf(compute.folder), sql.indexOf('.parquet')), '') : error.message);
      if (error.code !== 'BAD_REQUEST' && error.code !== 'REQUEST_TIMEOUT') answered.push(`${sql}: ${error.message}`);
    });
    if (answer !== undefined) answered.push(`${sql}: ${answer}`);
  }
  // Of it DuckDB knows a formula, which takes no time.
  expect(answered.filter((text) => !text.startsWith('SELECT count(*) FROM range(1000000000)'))).toEqual([]);
  expect(told.filter((message) => message.includes(compute.folder) || message.includes('HIDDEN') || message.includes('/.duckdb'))).toEqual([]);
  expect(await compute.find('SELECT title FROM table1')).toEqual([['one']]);
});

test('the engine refuses by itself what the guard would have let through', async () => {
  const refusals: string[] = [];
  for (const sql of [
    "SELECT * FROM read_text('/etc/passwd')",
    "COPY (SELECT 1) TO '/tmp/hostile.csv'",
    "ATTACH '/tmp/hostile.db'",
    'INSTALL httpfs',
    'LOAD httpfs',
    'SET threads = 8',
    'SET enable_external_access = true',
    "SELECT * FROM glob('/*')",
    "SELECT * FROM '/etc/hosts.csv'",
  ]) {
    await compute.processes
      .use(AbortSignal.timeout(60_000), async (process) => {
        await process.prepare([], []);
        const { data } = await process.run({ sql, values: [], format: 'json', rowsMax: 10, file: '' });
        for await (const bytes of data) refusals.push(`${sql}: ${bytes.toString()}`);
      })
      .catch((error: Error) => refusals.push(/disabled|locked|does not exist|Cannot access|cannot be/i.test(error.message) ? 'refused' : `${sql}: ${error.message}`));
  }
  expect(new Set(refusals)).toEqual(new Set(['refused']));
});

test('what is allowed stays allowed', async () => {
  const { find } = { find: compute.find.bind(compute) };
  expect(await find("SELECT count(*) FROM table1 AS t JOIN range(3) AS r ON true WHERE title LIKE 'o%' GROUP BY ALL")).toEqual([[3]]);
  expect(await find('WITH x AS (SELECT 1 AS n), y AS (SELECT n + 1 AS n FROM x) SELECT * FROM x UNION SELECT * FROM y ORDER BY n;')).toEqual([[1], [2]]);
  expect(await find('WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t -- done')).toEqual([[1], [2], [3]]);
  expect(await find('FROM Table1 SELECT upper(title), row_number() OVER (ORDER BY id)')).toEqual([['ONE', 1]]);
  expect(await find('SELECT [n * 2 FOR n IN [1, 2] IF n > 1], list_transform([1], lambda x: x + 1)')).toEqual([[[4], [2]]]);
  expect(await find("SELECT j.key, j.value FROM json_each('{\"a\": 1}') AS j, unnest([1]) AS u")).toEqual([['a', '1']]);
  expect(await find('VALUES (1, \'NaN\'::DOUBLE), (2, NULL)')).toEqual([[1, 'NaN'], [2, null]]);
  expect(await find('SELECT x FROM (SELECT 1 AS x EXCEPT SELECT 2) WHERE EXISTS (SELECT * FROM table1)')).toEqual([[1]]);
});
