import type { SeededRandom } from '@binnacle/testing/seeded-random';
import { Command } from '@binnacle/mysql-wire/command';

/** One command of one session, without ids that only the server knows. */
export type ModelStep = { readonly session: number } & ModelAction;

export type ModelAction =
  | { readonly kind: 'command'; readonly command: number; readonly body: string }
  /** `slot` is the number that the script knows a prepared statement by. */
  | { readonly kind: 'prepare'; readonly slot: number; readonly sql: string }
  | { readonly kind: 'execute'; readonly slot: number; readonly cursor: boolean; readonly parameters: readonly Parameter[]; readonly bindTypes: boolean }
  | { readonly kind: 'fetch'; readonly slot: number; readonly rows: number }
  | { readonly kind: 'longData'; readonly slot: number; readonly parameter: number; readonly text: string }
  | { readonly kind: 'resetStatement'; readonly slot: number }
  | { readonly kind: 'close'; readonly slot: number }
  | { readonly kind: 'changeUser'; readonly user: string; readonly password: string; readonly database: string }
  /** `during`: while the next command of the session is sent. */
  | { readonly kind: 'migrate'; readonly during: boolean };

export interface Parameter {
  /** Type code of the binary protocol, with 0x8000 for unsigned. */
  readonly type: number;
  readonly value: string | null;
  /** COM_STMT_SEND_LONG_DATA brought the value: a client that sends it once more makes MariaDB read beyond it. */
  readonly sent?: true;
}

export const parameterType = { tiny: 1, long: 3, double: 5, null: 6, longlong: 8, varString: 253, blob: 252, unsignedLonglong: 0x8008 } as const;

/** As `model_a.t0`: every session has tables of its own, so that none waits for another one. */
export const modelSchema = (sessions: number): string[] => [
  'DROP DATABASE IF EXISTS model_a',
  'DROP DATABASE IF EXISTS model_b',
  'CREATE DATABASE model_a CHARACTER SET utf8mb4',
  'CREATE DATABASE model_b CHARACTER SET latin1',
  ...Array.from({ length: sessions }, (_, session) => ['model_a', 'model_b'].map((database) =>
    `CREATE TABLE ${database}.t${session} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT, s VARCHAR(40), d DECIMAL(20,6), b VARBINARY(60), at DATETIME(3)) ENGINE=InnoDB`)).flat(),
  ...Array.from({ length: sessions }, (_, session) => `CREATE TABLE model_a.u${session} (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=InnoDB`),
  'CREATE PROCEDURE model_a.rows_of(IN top LONGBLOB) BEGIN SELECT 1 AS one, top AS two; SELECT @p := top; END',
  'CREATE FUNCTION model_a.twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2',
  "CREATE OR REPLACE USER model_u IDENTIFIED BY 'model'",
  "GRANT ALL ON *.* TO model_u IDENTIFIED BY 'model'",
  'CREATE OR REPLACE ROLE model_r',
  'GRANT SELECT ON model_a.* TO model_r',
  'GRANT model_r TO model_u',
  "GRANT model_r TO root@'127.0.0.1'",
];

const variables: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['sql_mode', ["''", "'ANSI_QUOTES'", "'NO_BACKSLASH_ESCAPES'", "'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO'", "'PIPES_AS_CONCAT,IGNORE_SPACE'", "'TRADITIONAL'", 'DEFAULT']],
  ['time_zone', ["'+00:00'", "'-03:30'", "'SYSTEM'", 'DEFAULT']],
  ['sql_select_limit', ['1', '3', '18446744073709551615', 'DEFAULT']],
  ['group_concat_max_len', ['8', '1024', '1048576']],
  ['div_precision_increment', ['0', '4', '9']],
  ['lc_time_names', ["'de_DE'", "'en_US'", "'ja_JP'"]],
  ['default_week_format', ['0', '3', '6']],
  ['max_error_count', ['0', '2', '64']],
  ['sql_notes', ['0', '1']],
  ['foreign_key_checks', ['0', '1']],
  ['unique_checks', ['0', '1']],
  ['sql_big_selects', ['0', '1']],
  ['max_sort_length', ['64', '1024']],
  ['sort_buffer_size', ['65536', '2097152']],
  ['tmp_table_size', ['65536', '16777216']],
  ['character_set_results', ['NULL', 'utf8mb4', 'latin1', 'binary']],
  ['collation_connection', ['utf8mb4_bin', 'utf8mb4_unicode_ci', 'latin1_german1_ci']],
  ['character_set_client', ['utf8mb4', 'latin1']],
  ['collation_server', ['utf8mb4_bin', 'latin1_bin', 'DEFAULT']],
  ['optimizer_switch', ["'mrr=on'", "'index_merge=off'", "'default'"]],
  ['tx_isolation', ["'READ-COMMITTED'", "'REPEATABLE-READ'", "'SERIALIZABLE'"]],
  ['tx_read_only', ['0', '1', '0']],
  ['lock_wait_timeout', ['3', '50']],
  ['innodb_lock_wait_timeout', ['3', '50']],
  ['long_query_time', ['10', '20.5']],
  ['autocommit', ['0', '1', '1', '1']],
  ['completion_type', ["'NO_CHAIN'", "'CHAIN'", "'NO_CHAIN'"]],
  ['sql_safe_updates', ['0', '1']],
  ['net_write_timeout', ['60', '90']],
  ['wait_timeout', ['28800', '3600']],
  ['old_mode', ["''", "'UTF8_IS_UTF8MB3'"]],
  ['updatable_views_with_limit', ["'YES'", "'NO'"]],
  ['default_storage_engine', ['InnoDB', 'Aria']],
  ['eq_range_index_dive_limit', ['0', '200']],
  ['join_cache_level', ['2', '4']],
  ['sql_quote_show_create', ['0', '1']],
  ['no_such_variable', ['1']],
];

/** Read back as they are: their values show what was carried over. */
const readVariables = [
  'sql_mode', 'time_zone', 'sql_select_limit', 'group_concat_max_len', 'div_precision_increment', 'lc_time_names', 'default_week_format', 'max_error_count', 'sql_notes', 'foreign_key_checks', 'unique_checks',
  'character_set_client', 'character_set_connection', 'character_set_results', 'collation_connection', 'character_set_database', 'collation_server', 'optimizer_switch', 'tx_isolation', 'tx_read_only', 'autocommit',
  'auto_increment_increment', 'sql_auto_is_null', 'completion_type', 'old_mode', 'long_query_time', 'lock_wait_timeout', 'sort_buffer_size', 'wait_timeout', 'join_cache_level', 'default_storage_engine',
];

const values = [
  '0', '-1', '42', '18446744073709551615', '-9223372036854775808', '1.50', '-0.000001', '12345678901234567890.123456789', '1e10', '-2.5e-300', '1/3', 'NULL', 'TRUE', "'text'", "''", "'it''s'", "'back\\\\slash \\n'",
  "'\u00e9\u00fc\u6f22'", "_latin1'caf\u00e9'", "_utf8mb4'x' COLLATE utf8mb4_bin", "_binary'\\0\\x01'", "x'00ff10'", "b'1010'", 'CAST(7 AS UNSIGNED)', 'CAST(7.25 AS DECIMAL(10,4))', "CAST('2024-02-29' AS DATE)", "TIMESTAMP'2024-02-29 12:13:14.5'",
  "CAST('-10:11:12' AS TIME)", "REPEAT('ab', 700)", "CONVERT('abc' USING utf16)", 'CAST(3.5 AS DOUBLE)', 'CAST(3.5 AS FLOAT)', '1 = 1', "JSON_OBJECT('a', 1)", "@v0", "CONCAT(@v1, 'x')", 'YEAR(20240101)',
];

const preparable = [
  'SELECT ?', 'SELECT ?, ? + 1, CONCAT(?, \'x\')', 'SELECT 1, \'two\', 3.5, NULL', 'SELECT @v0, ?', 'SELECT seq, ? FROM seq_1_to_40', 'SELECT seq FROM seq_1_to_200', 'INSERT INTO model_a.u# VALUES (?, ?)', 'SELECT n, s FROM model_a.t# ORDER BY id LIMIT ?',
  'SET @v1 = ?', 'UPDATE model_a.t# SET n = ? WHERE id < ?', 'DELETE FROM model_a.t# WHERE id = ?', 'SELECT DATABASE(), ?', 'SELECT * FROM nosuch WHERE a = ?', 'DO ?', 'SELECT "quoted", ?', 'SELECT HEX(?), n FROM model_a.t# LIMIT 2', 'CALL model_a.rows_of(?)', 'SHOW TABLES', 'BEGIN', 'COMMIT', 'SELECT LENGTH(?)',
];

/**
 * Each commits what was before, and is committed soon: an insert that is rolled back takes a number on one server of a cluster and not on the others, so that numbers differ afterwards whoever asks.
 * The same goes for the step of the numbers, which therefore stays.
 */
const inserts = [
  "INSERT INTO model_a.t# (n, s) VALUES (1, 'a')", 'INSERT INTO model_a.t# (n, d) VALUES (2, 1.5), (3, 2.5), (NULL, NULL)', "INSERT INTO model_b.t# (s) VALUES ('caf\u00e9')",
  "INSERT INTO t# (s) VALUES ('a long text that is longer than forty characters are allowed to be')", "INSERT INTO model_a.t# (b, at) VALUES (x'00ff', '2024-02-29 01:02:03.456')",
];

interface Weighted {
  readonly weight: number;
  readonly make: (random: SeededRandom, session: number, slots: Slots) => ModelAction | readonly ModelAction[] | undefined;
}

/** Of prepared statements of a session; one more closes the oldest. */
const slotsMax = 6;

/** Prepared statements as the script knows them: the parameters of each. */
class Slots {
  readonly open = new Map<number, number>();
  next = 1;

  any(random: SeededRandom): number | undefined {
    return this.open.size === 0 ? undefined : random.oneOf([...this.open.keys()]);
  }
}

function query(body: string): ModelAction {
  return { kind: 'command', command: Command.query, body };
}

function oneOf(weight: number, ...texts: readonly string[]): Weighted {
  return { weight, make: (random, session) => query(random.oneOf(texts).replaceAll('#', String(session))) };
}

function parameter(random: SeededRandom): Parameter {
  const { tiny, long, longlong, unsignedLonglong, double, varString, blob, null: nothing } = parameterType;
  return random.oneOf<() => Parameter>([
    () => ({ type: tiny, value: String(random.below(100)) }),
    () => ({ type: long, value: String(random.below(1_000_000) - 500_000) }),
    () => ({ type: longlong, value: String(-(2n ** 62n)) }),
    () => ({ type: unsignedLonglong, value: String(2n ** 63n + 5n) }),
    () => ({ type: double, value: String(random.below(1_000) / 8) }),
    () => ({ type: varString, value: random.oneOf(['', 'plain', "quo'te", '\u00e9\u6f22', 'x'.repeat(300)]) }),
    () => ({ type: blob, value: 'b\u0001\u00ff' }),
    () => ({ type: nothing, value: null }),
    () => ({ type: long, value: null }),
  ])();
}

const variable = (random: SeededRandom): string => `@v${random.below(4)}`;
const setting = (random: SeededRandom): string => {
  const [name, choices] = random.oneOf(variables);
  return `${random.oneOf(['', 'SESSION ', '@@', '@@session.', 'LOCAL '])}${name} = ${random.oneOf(choices)}`;
};

/** What keeps a session for a while: asked to move then, it must say why, and when that has ended it can. */
const whiles: readonly (readonly string[])[] = [
  ["SELECT GET_LOCK('l#', 0)", "SELECT IS_FREE_LOCK('l#')", "SELECT RELEASE_LOCK('l#')"],
  ["SELECT GET_LOCK('l#', 0)", "SELECT GET_LOCK('m#', 0)", 'SELECT RELEASE_ALL_LOCKS()'],
  ['LOCK TABLES model_a.t# WRITE', 'SELECT COUNT(*) FROM model_a.t#', 'UNLOCK TABLES'],
  ['HANDLER model_a.t# OPEN AS h', 'HANDLER h READ FIRST', 'HANDLER h CLOSE'],
  ['CREATE TEMPORARY TABLE tmp# (a INT)', 'INSERT INTO tmp# VALUES (1), (2)', 'SELECT * FROM tmp#', 'DROP TEMPORARY TABLE tmp#'],
  ["PREPARE p1 FROM 'SELECT ?, @v0'", 'EXECUTE p1 USING @v1', 'DEALLOCATE PREPARE p1'],
  ["PREPARE p2 FROM 'UPDATE model_a.t# SET n = 1 WHERE n = 2'", 'EXECUTE p2', 'DEALLOCATE PREPARE p2'],
  ['BEGIN', 'UPDATE model_a.u# SET v = 1', 'SAVEPOINT s1', 'SELECT * FROM model_a.u#', 'ROLLBACK TO SAVEPOINT s1', 'COMMIT'],
];

function passing(random: SeededRandom, session: number): readonly ModelAction[] {
  const statements = random.oneOf(whiles).map((text) => query(text.replaceAll('#', String(session))));
  const migrateAt = 1 + random.below(statements.length);
  return [...statements.slice(0, migrateAt), { kind: 'migrate', during: false }, ...statements.slice(migrateAt)];
}

/** What keeps a session until it is reset; it is, soon, for it would be all that such a session has to say. */
const untilReset = [
  'SELEC nonsense', "EXECUTE IMMEDIATE 'SELECT 5'", 'EXECUTE nosuch', 'GET DIAGNOSTICS @v3 = NUMBER', 'SET STATEMENT max_statement_time = 9 FOR SELECT 8', 'BEGIN NOT ATOMIC DECLARE x INT DEFAULT 3; SELECT x; END', 'SELECT /*!50000 1 + */ 1',
  "SET sql_mode='ANSI_QUOTES'; SELECT 'a' \"b\"", 'SET @v0 = 1; SELEC broken; SET @v0 = 2', 'SET NAMES gbk', 'SET NAMES sjis', 'SELECT nosuch()', 'SET timestamp = 1234567890.5', 'SET insert_id = 100000', 'SET last_insert_id = 77', 'SET rand_seed1 = 5', 'SET profiling = 1', 'SET sql_auto_is_null = 1',
  'PREPARE p3 FROM \'SELECT 1\'', 'CREATE TEMPORARY TABLE IF NOT EXISTS kept# (a INT)',
];

function lasting(random: SeededRandom, session: number): readonly ModelAction[] {
  const statements = [random.oneOf(untilReset), 'SELECT NOW(0) > 0, LAST_INSERT_ID()', "SELECT 'a' 'b'"].map((text) => query(text.replaceAll('#', String(session))));
  return [...statements, { kind: 'migrate', during: false }, { kind: 'command', command: Command.resetConnection, body: '' }, query('SELECT LAST_INSERT_ID()')];
}

const actions: readonly Weighted[] = [
  { weight: 14, make: (random) => query(`SET ${setting(random)}`) },
  { weight: 3, make: (random) => query(`SET ${setting(random)}, ${variable(random)} = ${random.oneOf(values)}, ${setting(random)}`) },
  { weight: 10, make: (random) => query(`SET ${variable(random)} = ${random.oneOf(values)}`) },
  { weight: 3, make: (random) => query(`SELECT ${variable(random)} := ${random.oneOf(values)}`) },
  { weight: 1, make: (random) => query(`SELECT ${random.oneOf(values)} INTO ${variable(random)}`) },
  { weight: 8, make: (random) => {
    const name = variable(random);
    return query(random.oneOf([`SELECT ${name}`, `SELECT ${name}, CHARSET(${name}), COLLATION(${name}), COERCIBILITY(${name})`, `SELECT HEX(${name}), ${name} + 0`, 'SELECT @v0, @v1, @v2, @v3', 'SELECT @nobody']));
  } },
  { weight: 10, make: (random) => query(`SELECT ${Array.from({ length: 1 + random.below(4) }, () => `@@${random.oneOf(readVariables)}`).join(', ')}`) },
  oneOf(1, `SELECT ${readVariables.map((name) => `@@${name}`).join(', ')}`),
  oneOf(4, 'USE model_a', 'USE model_b', 'USE model_a', 'USE model_b', 'USE model_a', 'USE nosuch'),
  { weight: 2, make: (random) => ({ kind: 'command', command: Command.initDb, body: random.oneOf(['model_a', 'model_b', 'model_a', 'model_b', 'nosuch']) }) },
  oneOf(4, 'SELECT DATABASE(), USER(), CURRENT_USER()', 'SELECT CURRENT_ROLE()', 'SHOW TABLES', 'SELECT SCHEMA()'),
  oneOf(6, "SET NAMES utf8mb4", 'SET NAMES latin1', "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci", 'SET NAMES binary', 'SET CHARACTER SET cp1251', 'SET NAMES DEFAULT', 'SET NAMES utf8mb4', 'SET NAMES utf8mb3', 'SET NAMES nosuch'),
  oneOf(2, 'SET ROLE model_r', 'SET ROLE NONE', 'SET ROLE nosuch'),
  oneOf(7, 'BEGIN', 'START TRANSACTION', 'START TRANSACTION READ ONLY', 'COMMIT', 'ROLLBACK', 'COMMIT', 'COMMIT AND CHAIN', 'ROLLBACK', 'COMMIT', 'SAVEPOINT s1', 'ROLLBACK TO SAVEPOINT s1', 'START TRANSACTION WITH CONSISTENT SNAPSHOT', 'COMMIT'),
  oneOf(2, 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED', 'SET TRANSACTION READ ONLY', 'SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'SET SESSION TRANSACTION READ WRITE'),
  { weight: 6, make: (random, session) => [query('COMMIT'), query(random.oneOf(inserts).replaceAll('#', String(session))), query('COMMIT')] },
  { weight: 2, make: (random, session) => [query('COMMIT'), query(random.oneOf(inserts).replaceAll('#', String(session))), query('SELECT LAST_INSERT_ID(), @@identity'), query('COMMIT')] },
  oneOf(12, 'SELECT LAST_INSERT_ID(), @@identity, @@last_insert_id FROM model_a.t# LIMIT 1', 'SELECT COUNT(*), MAX(id), SUM(n) FROM model_a.t#', 'SELECT id, n, s, d, HEX(b), at FROM model_b.t# ORDER BY id DESC LIMIT 3'),
  oneOf(3, 'UPDATE model_a.t# SET n = n + 1 WHERE id > 3 LIMIT 5', 'DELETE FROM model_a.t# WHERE n > 5', 'REPLACE INTO model_a.u# VALUES (1, \'r\')', "INSERT INTO model_a.u# VALUES (2, 'i') ON DUPLICATE KEY UPDATE v = 'd'", "INSERT IGNORE INTO model_a.u# VALUES (1, 'x')", 'SELECT * FROM model_a.u#'),
  oneOf(3, 'SELECT ROW_COUNT()', 'SHOW WARNINGS', 'SHOW ERRORS', 'SELECT @@warning_count, @@error_count', 'SELECT FOUND_ROWS()', 'SHOW COUNT(*) WARNINGS'),
  oneOf(2, 'SELECT SQL_CALC_FOUND_ROWS seq FROM seq_1_to_50 LIMIT 3', 'SELECT LAST_INSERT_ID(123)', 'UPDATE model_a.u# SET id = LAST_INSERT_ID(id) WHERE id = 1'),
  oneOf(2, 'SELECT 1/0', 'SELECT * FROM nosuch.t', "INSERT INTO model_a.u# VALUES (1, 'dup'), (1, 'dup')", 'SELECT CAST(\'abc\' AS SIGNED)', "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'ours'", 'SELECT "a" \'b\'', "SELECT 'a' || 'b', \"id\"", 'DROP TABLE nosuch'),
  oneOf(4, 'SELECT 1; SET @v2 = 5; SELECT @v2', 'BEGIN; SELECT 1; COMMIT', 'SELECT 1; SELECT 2, 3; COMMIT; INSERT INTO model_a.t# (n) VALUES (9); COMMIT; SELECT 4', 'USE model_b; SELECT DATABASE(); SELECT @v1', ' ; '),
  oneOf(1, 'CALL model_a.rows_of(3)', 'SELECT model_a.twice(4)'),
  oneOf(3, "SELECT REPEAT('x', 70000)", 'SELECT seq, REPEAT(seq, 40) FROM seq_1_to_500', 'SELECT 1 WHERE FALSE', 'SELECT NULL, 1e0, 2.50, \'\u00e9\', x\'ff\', NOW(0) > 0', 'SHOW VARIABLES LIKE \'character%\'', 'DESCRIBE model_a.t#', '/* only a comment */', 'DO SLEEP(0.001)', 'SELECT 3 -- and no more'),
  { weight: 2, make: () => ({ kind: 'command', command: Command.resetConnection, body: '' }) },
  { weight: 6, make: passing },
  { weight: 3, make: lasting },
  { weight: 3, make: () => ({ kind: 'command', command: Command.ping, body: '' }) },
  { weight: 1, make: (random) => random.below(2) === 0 ? undefined : [{ kind: 'command', command: Command.fieldList, body: random.oneOf(['u0\0', 'nosuch\0']) }] },
  { weight: 1, make: (random) => {
    const [user, password] = random.oneOf([['model_u', 'model'], ['root', 'root']] as const);
    return { kind: 'changeUser', user, password, database: random.oneOf(['model_a', 'model_b', '']) };
  } },
  { weight: 7, make: (random, session, slots) => {
    const sql = random.oneOf(preparable).replaceAll('#', String(session));
    const slot = slots.next++;
    const count = sql.split('?').length - 1;
    const [oldest] = slots.open.keys();
    const closed: ModelAction[] = slots.open.size < slotsMax ? [] : [{ kind: 'close', slot: oldest! }];
    if (closed.length > 0) slots.open.delete(oldest!);
    slots.open.set(slot, count);
    return [...closed, { kind: 'prepare', slot, sql }, { kind: 'execute', slot, cursor: false, bindTypes: true, parameters: Array.from({ length: count }, () => parameter(random)) }];
  } },
  { weight: 8, make: (random, _session, slots) => {
    const slot = slots.any(random);
    if (slot === undefined) return undefined;
    const parameters = Array.from({ length: slots.open.get(slot)! }, () => parameter(random));
    return { kind: 'execute', slot, cursor: random.below(6) === 0, bindTypes: true, parameters };
  } },
  { weight: 4, make: (random, _session, slots) => {
    const slot = slots.any(random);
    // Twice with the same types, which are not sent again.
    const parameters = Array.from({ length: slot === undefined ? 0 : slots.open.get(slot)! }, () => ({ type: parameterType.long as number, value: String(random.below(9)) }));
    return slot === undefined ? undefined : [{ kind: 'execute', slot, cursor: false, bindTypes: true, parameters }, { kind: 'migrate', during: false }, { kind: 'execute', slot, cursor: false, bindTypes: false, parameters }];
  } },
  { weight: 3, make: (random, _session, slots) => {
    const slot = slots.any(random);
    const parameters = Array.from({ length: slot === undefined ? 0 : slots.open.get(slot)! }, () => parameter(random));
    return slot === undefined ? undefined : random.oneOf<readonly ModelAction[]>([
      [{ kind: 'execute', slot, cursor: true, bindTypes: true, parameters }, { kind: 'fetch', slot, rows: 1 + random.below(50) }, { kind: 'migrate', during: false }, { kind: 'fetch', slot, rows: 50 }, { kind: 'resetStatement', slot }],
      [{ kind: 'resetStatement', slot }],
    ]);
  } },
  // A statement of its own: where a parameter was a number before, MariaDB answers with bytes of its own memory.
  { weight: 1, make: (_random, _session, slots) => {
    const slot = slots.next++;
    const parameters: readonly Parameter[] = [{ type: parameterType.blob, value: '', sent: true }];
    const execute: ModelAction = { kind: 'execute', slot, cursor: false, bindTypes: true, parameters };
    return [{ kind: 'prepare', slot, sql: 'SELECT LENGTH(?)' }, { kind: 'longData', slot, parameter: 0, text: 'long ' }, { kind: 'migrate', during: false }, execute, { kind: 'close', slot }];
  } },
  { weight: 4, make: (random, _session, slots) => {
    const slot = slots.any(random);
    if (slot === undefined) return undefined;
    slots.open.delete(slot);
    return { kind: 'close', slot };
  } },
];

const weightSum = actions.reduce((sum, { weight }) => sum + weight, 0);

function action(random: SeededRandom, session: number, slots: Slots): readonly ModelAction[] {
  let left = random.below(weightSum);
  const chosen = actions.find(({ weight }) => (left -= weight) < 0)!.make(random, session, slots);
  return chosen === undefined ? [] : 'kind' in chosen ? [chosen] : chosen;
}

/** At least so many steps; about a third of them ask for a migration. */
export function makeScript(random: SeededRandom, count: number, sessions: number): ModelStep[] {
  const slots = Array.from({ length: sessions }, () => new Slots());
  const steps: ModelStep[] = [];
  while (steps.length < count) {
    const session = random.below(sessions);
    for (const each of action(random, session, slots[session]!)) {
      steps.push({ session, ...each });
      // Mostly the script knows what is gone, for errors keep sessions where they are.
      if ((each.kind === 'changeUser' || (each.kind === 'command' && each.command === Command.resetConnection)) && random.below(8) > 0) slots[session]!.open.clear();
    }
    if (random.below(2) === 0) steps.push({ session, kind: 'migrate', during: random.below(5) === 0 });
  }
  return steps;
}
