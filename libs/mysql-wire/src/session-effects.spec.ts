import { expect, test } from '@jest/globals';
import { sessionEffects } from './session-effects.js';

const plain = { ansiQuotes: false, noBackslashEscapes: false };

/** Effects, then `f()` for functions and `call p` for procedures. */
function found(text: string): string {
  const { effects, functions, procedures } = sessionEffects(text, plain);
  return [...effects, ...functions.map((name) => `${name}()`), ...procedures.map((name) => `call ${name}`)].join(', ');
}

const leavingNothing = [
  'SELECT a, COUNT(*), max( b ) FROM t WHERE c IN (1, 2) AND EXISTS (SELECT 1) GROUP BY (a) ORDER BY b',
  "INSERT INTO shop.t (a, b) VALUES (1, now()) ON DUPLICATE KEY UPDATE a = VALUES(a)",
  'INSERT IGNORE t (a) SELECT 1',
  'REPLACE t (a) VALUES (1)',
  'UPDATE t JOIN u USING (id) SET t.a = IF(u.b > 1, 2, 3) WHERE t.timestamp = 5',
  'CREATE TABLE IF NOT EXISTS `t` (a VARCHAR(10) NOT NULL DEFAULT (uuid()), b DECIMAL(5,2), KEY k (a), UNIQUE KEY `u` (b), CONSTRAINT f FOREIGN KEY (a) REFERENCES o (id))',
  'CREATE INDEX i ON t (a)',
  'ALTER TABLE t ADD INDEX (a), ADD COLUMN c ENUM(\'x\')',
  'BEGIN', 'begin work', 'START TRANSACTION WITH CONSISTENT SNAPSHOT', 'COMMIT', 'rollback to savepoint a', 'SAVEPOINT a',
  'SET NAMES utf8mb4', "SET SESSION sql_mode = 'ANSI'", 'SET autocommit = 0, @@session.lock_wait_timeout = 5', 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'USE shop', '/*!40101 SET NAMES utf8 */;', 'SET NAMES utf8mb4 ;', 'SHOW TABLES', 'SELECT @a, @@timestamp', "SELECT 'GET_LOCK(1)', `get_lock` FROM t -- get_lock('a', 1)",
  'SELECT LAST_INSERT_ID(), FOUND_ROWS()', 'WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT * FROM x', '', ';', 'FLUSH STATUS',
  'SELECT a FROM t WHERE b = ANY (SELECT 1) AND c < SOME(SELECT 2) AND MATCH (d) AGAINST (\'x\')', 'SELECT CAST(a AS DATETIME(3)), CONVERT(b, CHAR(5))',
  'SELECT * FROM t USE INDEX FOR JOIN (i) JOIN (SELECT 1) AS d (x) ON (x = 1)', "INSERT INTO t PARTITION (p) (a) VALUES ROW(1), ROW(2)",
  "CREATE TABLE p (a INT, h TEXT(5)) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10))", "LOAD DATA INFILE 'f' INTO TABLE t IGNORE 1 LINES (a, b)",
  'CREATE PROCEDURE p() SELECT GET_LOCK(1, 2)', 'SELECT ROW_NUMBER() OVER (PARTITION BY a) FROM t', 'LOAD DATA LOCAL INFILE "f" INTO TABLE t (a, b)',
];

test('ordinary statements leave nothing behind', () => {
  for (const text of leavingNothing) expect([text, found(text)]).toEqual([text, '']);
});

const leavingSomething: [string, string][] = [
  ["SELECT GET_LOCK('a', 1)", 'advisory-lock'],
  ["DO `get_lock` ('a', 1)", 'advisory-lock'],
  ["SELECT/*!50000 GET_LOCK('a', 1) */", 'advisory-lock, not-understood'],
  ["SELECT /*!99999 1 AS */ GET_LOCK('a', 1)", 'not-understood'],
  ["SELECT 1 /*!99999 ' */, GET_LOCK('a', 1) /*!99999 ' */", 'not-understood'],
  ["/*!50000 SELECT GET_LOCK('a', 1) */;", 'advisory-lock'],
  ["SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\', GET_LOCK('a', 1) -- '", 'not-understood'],
  ['SET NAMES gbk; SELECT 1', 'not-understood'],
  ["SELECT 1; SELECT RELEASE_LOCK('a')", 'advisory-unlock'],
  ["SELECT '\\'', get_lock('a', 1)", 'advisory-lock'],
  ['HANDLER t OPEN', 'handler'],
  ['SELECT @b := 2', 'user-variable'],
  ['SET @a = 1', 'user-variable'],
  ["SET x = 1, @'a' := 1", 'user-variable'],
  ['SELECT a INTO @x FROM t', 'user-variable'],
  ['LOAD DATA INFILE "f" INTO TABLE t (a, @b) SET c = @b', 'user-variable'],
  ['UPDATE t SET a = LAST_INSERT_ID(a + 1)', 'last-insert-id'],
  ['SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1', 'found-rows'],
  ["PREPARE s FROM 'SELECT 1'", 'text-prepare'],
  ['EXECUTE s', 'not-understood'],
  ["EXECUTE IMMEDIATE 'SELECT 1'", 'not-understood'],
  ['CREATE OR REPLACE TEMPORARY TABLE t (a INT)', 'temporary-table'],
  ['DROP TEMPORARY TABLE t', 'temporary-table'],
  ['FLUSH TABLES WITH READ LOCK', 'global-lock'],
  ['FLUSH TABLES t FOR EXPORT', 'global-lock'],
  ['LOCK INSTANCE FOR BACKUP', 'global-lock'],
  ['BACKUP STAGE START', 'global-lock'],
  ['LOCK TABLES t READ', 'table-lock'],
  ['UNLOCK TABLES', 'unlock'],
  ["XA START 'x'", 'xa'],
  ['SET ROLE admin', 'role'],
  ['SET TRANSACTION READ ONLY', 'one-shot-transaction'],
  ["SET @@transaction_isolation = 'SERIALIZABLE'", 'one-shot-transaction'],
  ['SET timestamp = DEFAULT', 'unreplayable-variable'],
  ['SET @@session.insert_id = 5', 'unreplayable-variable'],
  ['SELECT NEXT VALUE FOR s', 'sequence'],
  ['SELECT nextval(s)', 'sequence'],
  ['CALL shop.pay(1, get_total())', 'call shop.pay'],
  ['SELECT price(1), shop.`Tax` (2)', 'price(), shop.tax()'],
  ['SELECT 1 FROM t JOIN u ON secret(1)', 'secret()'],
  ['SELECT HIGH_PRIORITY secret(1)', 'secret()'],
  ['SELECT hash(1), comment (2), any(3)', 'hash(), comment(), any()'],
  ['CREATE TABLE t AS SELECT secret(a) FROM u', 'secret()'],
  ['CREATE TABLE t (a INT) VALUES (secret(1))', 'secret()'],
  ['SELECT EXTRACT(YEAR FROM secret(1))', 'secret()'],
  ['BEGIN NOT ATOMIC SELECT 1; END', 'not-understood'],
  ['SET STATEMENT max_statement_time = 1 FOR SELECT 1', 'not-understood'],
  ["CREATE PROCEDURE p() SELECT 1; SELECT GET_LOCK('a', 1)", 'not-understood'],
  ["SELECT 'unterminated", 'not-understood'],
  ['SET SESSION AUTHORIZATION joe@localhost', 'not-understood'],
  ['FROBNICATE', 'not-understood'],
  ['CHANGE MASTER TO MASTER_HOST = "x"', 'not-understood'],
];

test('what leaves something behind is said', () => {
  for (const [text, effects] of leavingSomething) expect([text, found(text)]).toEqual([text, effects]);
});

test('a quoted name is not taken for a word of the grammar', () => {
  expect(found('SELECT `if`(1), `values` (2), `over`(3)')).toBe('over()');
});

test('a stored function is no built-in one of another server', () => {
  const text = 'SELECT BIN_TO_UUID(a) FROM t';
  expect(sessionEffects(text, plain).functions).toEqual([]);
  expect(sessionEffects(text, plain, new Set(['bin_to_uuid'])).functions).toEqual(['bin_to_uuid']);
});
