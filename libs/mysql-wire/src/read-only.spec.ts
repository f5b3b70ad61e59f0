import { expect, test } from '@jest/globals';
import { reading } from '../test/reading-statements.js';
import { statementNature } from './read-only.js';

const plain = { ansiQuotes: false, noBackslashEscapes: false };
const ansi = { ansiQuotes: true, noBackslashEscapes: false };
const noEscapes = { ansiQuotes: false, noBackslashEscapes: true };

test('what only reads is known to', () => {
  for (const text of reading) expect([text, statementNature(text, plain).refusal]).toEqual([text, undefined]);
});

const refusedTexts = [
  // Writes, with and without something before them.
  'INSERT INTO t VALUES (1)', 'UPDATE t SET a = 1', 'DELETE FROM t', 'REPLACE t VALUES (1)', 'TRUNCATE t', 'DROP TABLE t', 'CREATE TABLE u (a INT)', 'ALTER TABLE t ADD b INT', "LOAD DATA INFILE 'f' INTO TABLE t",
  'WITH x AS (SELECT 1) DELETE FROM t', 'WITH x AS (SELECT 1) UPDATE t SET a = 1', 'WITH x (insert) AS (SELECT 1) REPLACE t SELECT 1', 'WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x',
  '(DELETE FROM t)', '/* SELECT */ DELETE FROM t', '-- SELECT 1\nDELETE FROM t', '# SELECT\nDELETE FROM t', '--\nDELETE FROM t', 'SELECT 1; DELETE FROM t', 'SELECT 1;;/**/;DELETE FROM t',
  'SELECT 1 --\u{1}\n; DELETE FROM t', "SELECT 'a\\\\'; DELETE FROM t", "SELECT 'a'''; DELETE FROM t", 'SELECT `a``b`; DELETE FROM t',
  '/*!50000 DELETE FROM t */', '/*!DELETE FROM t*/', '/*M! DELETE FROM t */', '/*T! DELETE FROM t */', 'SELECT 1 /*!50000 INTO OUTFILE "/tmp/x" */', 'SELECT 1 /*!50000 ; DELETE FROM t */', "SELECT 1 /*!99999 ' */; DELETE FROM t -- '",
  '/*!99999 SELECT 1 */ DELETE FROM t', '/*!50000 SELECT 1 */; /*!50000 DELETE FROM t */', 'SELECT /*!40001 SQL_NO_CACHE */ 1 /*!50000 FOR UPDATE */', 'SELECT /*!40001 SQL_NO_CACHE */ /*!50000 GET_LOCK("a", 1) */',
  'SELECT /*+ QB_NAME(`*/ 1 -- `) */ INTO OUTFILE "/tmp/x"', 'SELECT /*+ SET_VAR(sql_mode="*/ 1 -- ") */ FOR UPDATE',
  // Locks.
  'SELECT * FROM t FOR UPDATE', 'SELECT * FROM t FOR/**/UPDATE', 'SELECT * FROM t for update skip locked', 'SELECT * FROM t FOR SHARE', 'SELECT * FROM t LOCK IN SHARE MODE', '(SELECT * FROM t FOR UPDATE)',
  'SELECT * FROM (SELECT * FROM t FOR UPDATE) d', 'SELECT 1 UNION (SELECT a FROM t FOR UPDATE)', 'SELECT * FROM t FOR UPDATE OF t', 'SELECT * FROM t FOR SHARE NOWAIT', 'WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE',
  'TABLE t FOR UPDATE', 'SELECT * FROM t FOR\u{a0}UPDATE', 'SELECT a\u{a0}FOR\u{a0}UPDATE', 'SELECT * FROM t LIMIT 1e5for update', 'LOCK TABLES t READ', 'UNLOCK TABLES', 'FLUSH TABLES WITH READ LOCK', 'LOCK INSTANCE FOR BACKUP',
  "SELECT GET_LOCK('a', 1)", "SELECT `get_lock` ('a', 1)", "SELECT get_lock\n/* */ ('a', 1)", "SELECT RELEASE_ALL_LOCKS()", 'XA START "a"', 'BACKUP STAGE START', 'HANDLER t OPEN', 'HANDLER t READ FIRST',
  // Files and variables.
  "SELECT * FROM t INTO OUTFILE '/tmp/x'", "SELECT 1 INTO DUMPFILE '/tmp/x'", "SELECT 1e5into outfile '/tmp/x'", "SELECT 1\u{a0}INTO\u{a0}OUTFILE\u{a0}'/tmp/x'", 'SELECT 1 INTO @a', 'SELECT a FROM t INTO @a',
  "SELECT LOAD_FILE('/etc/passwd')", "TABLE t INTO OUTFILE 'x'", "VALUES ROW(1) INTO OUTFILE 'x'", "SHOW TABLES INTO OUTFILE 'x'", "(SELECT 1) INTO OUTFILE 'x'", "EXPLAIN FORMAT=JSON INTO @a SELECT 1",
  // Waits, numbers and functions of others.
  'SELECT SLEEP(10)', 'SELECT BENCHMARK(1000000, MD5(1))', 'SELECT NEXTVAL(s)', 'SELECT NEXT VALUE FOR s', 'SELECT s.nextval', 'SELECT s.`nextval`', 'SELECT PREVIOUS VALUE FOR s', 'SELECT SETVAL(s, 1)', 'SELECT LASTVAL(s)',
  'SELECT SUBSTRING(NEXT VALUE FOR s FROM 1 FOR 2)', 'SELECT 1,\u{a0}NEXT\u{a0}VALUE\u{a0}FOR s', 'SELECT LAST_INSERT_ID(5)', "SELECT MASTER_POS_WAIT('a', 1)", 'SELECT WAIT_FOR_EXECUTED_GTID_SET("a")', 'SELECT my_function(1)',
  'SELECT test.now()', 'SELECT `my function` (1)', 'SELECT 1e5sleep(1)', "SELECT sys_exec('rm')", 'SELECT * FROM t WHERE f(a)', 'SELECT (SELECT f(1))', 'SELECT CASE WHEN (1) THEN f(1) END', 'SET @a = f(1)', 'SHOW TABLES WHERE f(1)',
  'SELECT * FROM t PROCEDURE ANALYSE()', "SELECT SPIDER_DIRECT_SQL('DELETE', '', '')", 'DO SLEEP(1)', 'DO 1', 'CALL p()', 'EXPLAIN UPDATE t SET a = f(1)',
  'WITH x AS (SELECT 1) (SELECT 1) ORDER BY SLEEP(1)', 'WITH x (a) AS (SELECT 1) (SELECT 1) LIMIT f(1)', 'SHOW TABLES WHERE (SELECT 1 FROM t FOR UPDATE)', 'SHOW TABLES WHERE NEXT VALUE FOR s', 'SHOW TABLES WHERE s.`nextval`', 'EXPLAIN UPDATE t SET a = NEXT VALUE FOR s', 'ANALYZE SELECT NEXT VALUE FOR s', 'SET @a = NEXT VALUE FOR s', 'EXECUTE s USING NEXT VALUE FOR s',
  // EXPLAIN that executes.
  'EXPLAIN FORMAT=JSON\u{a0}ANALYZE DELETE FROM t', 'EXPLAIN ANALYZE\u{a0}DELETE FROM t',
  'EXPLAIN ANALYZE DELETE FROM t', 'EXPLAIN ANALYZE UPDATE t SET a = 1', 'EXPLAIN ANALYZE INSERT INTO t VALUES (1)', 'DESC ANALYZE DELETE FROM t', 'DESCRIBE FORMAT=JSON ANALYZE DELETE FROM t', 'EXPLAIN ANALYZE FORMAT=TREE DELETE FROM t',
  'ANALYZE DELETE FROM t', 'ANALYZE FORMAT=JSON UPDATE t SET a = 1', 'ANALYZE TABLE t', 'ANALYZE LOCAL TABLE t', 'EXPLAIN ANALYZE WITH x AS (SELECT 1) DELETE FROM t', 'EXPLAIN ANALYZE SELECT * FROM t FOR UPDATE', 'TRACE DELETE FROM t',
  // What is set for others than the session.
  'SET GLOBAL max_connections = 1', 'SET @@global.max_connections = 1', 'SET PERSIST a = 1', 'SET PERSIST_ONLY a = 1', 'SET @@persist.a = 1', 'SET @@`global`.a = 1', 'SET @@ global.a = 1', 'SET @a = 1, GLOBAL b = 2', 'SET autocommit = 1, @@global.a = 1',
  "SET PASSWORD = 'x'", 'SET PASSWORD FOR a = 1', 'SET DEFAULT ROLE a TO b', 'SET RESOURCE GROUP g', 'SET STATEMENT max_statement_time = 1 FOR DELETE FROM t', 'SET SESSION AUTHORIZATION a', 'SET CONFIG tikv a = 1', 'SET hot_cache.key_buffer_size = 1',
  'SET GTID_NEXT = "a:1"', "SET SESSION debug = 'd,crash'", 'SET SESSION TRANSACTION READ WRITE', 'SET TRANSACTION READ WRITE', 'SET transaction_read_only = 0', 'SET @@session.tx_read_only = 0', 'SET GLOBAL TRANSACTION READ ONLY', 'SET NAMES gbk', "SET NAMES 'sjis'",
  'SET character_set_client = big5', 'SET CHARSET gb18030', 'SET NAMES @x', 'SET x = (SELECT 1 INTO OUTFILE "a")', "SET NAMES utf8mb4; SELECT 1", "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\', GET_LOCK('a', 1) -- '", "SET sql_mode = ''; DELETE FROM t",
  'SET tidb_general_log = 1', 'SET SESSION tidb_slow_log_threshold = 1', 'SET sql_log_bin = 0', 'SET', 'SET a', 'SET BINDING ENABLED FOR SELECT 1', "SET SESSION_STATES '{}'",
  // Transactions that write, or are none.
  'START TRANSACTION READ WRITE', 'START SLAVE', 'START REPLICA', 'BEGIN NOT ATOMIC DELETE FROM t; END', 'BEGIN DELETE FROM t; END', 'COMMIT RELEASE', 'RELEASE t', 'ROLLBACK RELEASE', 'COMMIT AND RELEASE',
  // Prepared in text.
  "PREPARE s FROM 'DELETE FROM t'", 'PREPARE s FROM @a', "PREPARE s FROM 'SELECT 1; DELETE FROM t'", "PREPARE s FROM CONCAT('DEL', 'ETE FROM t')", "PREPARE s FROM 'DEL\\ETE FROM t'", "PREPARE s FROM x'44'", "EXECUTE IMMEDIATE 'DELETE FROM t'",
  "EXECUTE IMMEDIATE 'SELECT 1'", "PREPARE s FROM 'PREPARE u FROM ''DELETE FROM t'''", 'EXECUTE s USING f(1)', "SELECT 1; PREPARE s FROM 'SELECT 1'", 'SELECT 1; EXECUTE s', 'EXECUTE s; DELETE FROM t', "PREPARE s FROM 'SELECT 1'; DELETE FROM t",
  // What does not end, and what nobody knows.
  "SELECT 'a", 'SELECT "a', 'SELECT `a', 'SELECT 1 /*', 'SELECT 1 /*!50000 ', "SELECT 'a\\'", 'KILL 5', 'SHUTDOWN', 'PURGE BINARY LOGS TO "a"', 'CHANGE MASTER TO MASTER_HOST="a"', 'GRANT ALL ON *.* TO a', 'CREATE USER a', 'INSTALL PLUGIN a SONAME "b"',
  'OPTIMIZE TABLE t', 'REPAIR TABLE t', 'CHECK TABLE t', 'FLUSH LOGS', 'RESET MASTER', 'SIGNAL SQLSTATE "45000"', 'GET DIAGNOSTICS @a = NUMBER', 'RENAME TABLE a TO b', 'IMPORT TABLE FROM "a"', 'CLONE LOCAL DATA DIRECTORY "a"', 'ADMIN CHECKPOINT', 'BINLOG "a"',
  'CACHE INDEX t IN hot', 'HELP (SELECT 1)', 'USE (SELECT 1)', 'DEALLOCATE PREPARE s; DELETE FROM t', 'SELECT $$ FROM t', 'SELECT \\N', '\u{a0}DELETE FROM t', 'DELETE\u{a0}FROM t', '\0DELETE FROM t', 'SELECT 1 \0 INTO x', 'CHECKSUM TABLE t INTO x',
];

test('everything else is refused, whatever it is hidden in', () => {
  for (const text of refusedTexts) expect([text, statementNature(text, plain).refusal]).toEqual([text, expect.any(String)]);
});

test('quotes are read as the session reads them', () => {
  expect(statementNature("SELECT '\\'; DELETE FROM t -- '", plain).refusal).toBeUndefined();
  expect(statementNature("SELECT '\\'; DELETE FROM t -- '", noEscapes).refusal).toBe('delete');
  expect(statementNature('SELECT "a\\"; DELETE FROM t -- "', plain).refusal).toBeUndefined();
  expect(statementNature('SELECT "a\\"; DELETE FROM t -- "', ansi).refusal).toBe('delete');
  expect(statementNature('SELECT "sleep" (1)', ansi).refusal).toBe('function sleep()');
  expect(statementNature('SELECT @"a\\", f(1), @"b"', ansi).refusal).toEqual(expect.any(String));
});

test('a function that a server stores is not taken for the built-in one of another server', () => {
  const text = 'SELECT BIN_TO_UUID(a) FROM t';
  expect(statementNature(text, plain).refusal).toBeUndefined();
  expect(statementNature(text, plain, new Set(['bin_to_uuid'])).refusal).toBe('function bin_to_uuid()');
});

test('says what a text prepares and executes', () => {
  expect(statementNature("PREPARE `S` FROM 'SELECT NOW() ORDER BY 1'", plain).prepares).toEqual({ name: 's', nature: { refusal: undefined, hasOrder: true, changesByNature: true } });
  expect(statementNature('PREPARE s FROM "DROP TABLE t"', plain).prepares).toEqual({ name: 's', nature: undefined });
  expect(statementNature('EXECUTE S USING @a', plain).executes).toBe('s');
  expect(statementNature("SET sql_mode = 'ANSI'", plain).setsMode).toBe(true);
});

test('an order counts at the top level alone', () => {
  const ordered = ['SELECT a FROM t ORDER BY a', '(SELECT a FROM t ORDER BY a)', '((SELECT a FROM t ORDER BY a))', '(SELECT 1) UNION (SELECT 2) ORDER BY 1', 'WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1', 'SELECT a FROM t ORDER BY a FOR UPDATE', 'TABLE t ORDER BY a'];
  const unordered = [
    'SELECT a FROM t', 'SELECT * FROM (SELECT a FROM t ORDER BY a) d', '(SELECT 1 ORDER BY 1) UNION (SELECT 2 ORDER BY 1)', 'SELECT GROUP_CONCAT(a ORDER BY a) FROM t', 'SELECT ROW_NUMBER() OVER (ORDER BY a) FROM t',
    'SELECT a FROM t ORDER BY NULL', "SELECT 'ORDER BY' FROM t", 'SELECT 1 -- ORDER BY a', 'WITH x AS (SELECT 1 ORDER BY 1) SELECT * FROM x', 'SELECT 1 ORDER BY 1; SELECT 2', 'SHOW TABLES', 'INSERT INTO t SELECT 1', 'SELECT `order` `by` FROM t',
  ];
  for (const text of ordered) expect([text, statementNature(text, plain).hasOrder]).toEqual([text, true]);
  for (const text of unordered) expect([text, statementNature(text, plain).hasOrder]).toEqual([text, false]);
});

test('knows what differs between two runs on equal data', () => {
  const changing = [
    'SELECT NOW()', 'SELECT now ( 6 )', 'SELECT CURRENT_TIMESTAMP', 'SELECT a FROM t WHERE b > UTC_DATE', 'SELECT UNIX_TIMESTAMP()', 'SELECT RAND()', 'SELECT * FROM t ORDER BY RAND()', 'SELECT UUID()', 'SELECT CONNECTION_ID()', 'SELECT @@hostname', 'SELECT USER()',
    'SELECT @@session.timestamp', 'SHOW PROCESSLIST', 'SHOW STATUS', 'SHOW FULL PROCESSLIST', 'EXPLAIN SELECT 1', 'SELECT * FROM information_schema.tables', 'SELECT * FROM `performance_schema`.threads', 'SELECT 1; SELECT NOW()', 'SELECT VERSION()',
  ];
  const steady = ['SELECT 1', 'SELECT now FROM t', 'SELECT t.current_timestamp FROM t', "SELECT 'NOW()'", 'SELECT UNIX_TIMESTAMP(a) FROM t', 'SHOW TABLES', 'SELECT @@sql_mode', 'SELECT DATE(a) FROM t', 'SHOW CREATE TABLE t', 'SELECT `current_date` FROM t', 'SELECT mysql FROM t'];
  for (const text of changing) expect([text, statementNature(text, plain).changesByNature]).toEqual([text, true]);
  for (const text of steady) expect([text, statementNature(text, plain).changesByNature]).toEqual([text, false]);
});
