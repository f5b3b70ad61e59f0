import { expect, test } from '@jest/globals';
import { mayHoldSecret, mayUseAccountSchema } from './secret-statements.js';

const plain = { ansiQuotes: false, noBackslashEscapes: false };
const ansi = { ansiQuotes: true, noBackslashEscapes: false };
const noEscapes = { ansiQuotes: false, noBackslashEscapes: true };

const secrets = [
  "CREATE USER a IDENTIFIED BY 'x'",
  "create/* */user a",
  'CREATE OR REPLACE USER a',
  'CREATE USER IF NOT EXISTS a',
  "ALTER USER IF EXISTS a IDENTIFIED BY 'x'",
  "SET PASSWORD = 'x'",
  "set password for a = password('x')",
  "SET autocommit = 1, PASSWORD = 'x'",
  "GRANT ALL ON *.* TO a IDENTIFIED BY 'x'",
  'GRANT SELECT ON *.* TO a',
  "CHANGE MASTER TO MASTER_PASSWORD = 'x'",
  "CHANGE MASTER 'other' TO MASTER_HOST='h'",
  "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='x'",
  "START SLAVE USER='u' PASSWORD='x'",
  "START GROUP_REPLICATION USER='u', PASSWORD='x'",
  "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (PASSWORD 'x')",
  "ALTER SERVER s OPTIONS (PASSWORD 'x')",
  "CLONE INSTANCE FROM u@h:3306 IDENTIFIED BY 'x'",
  "IMPORT INTO t FROM 's3://b/k?access-key=a&secret-access-key=x'",
  "BACKUP DATABASE * TO 's3://b'",
  "RESTORE DATABASE * FROM 's3://b'",
  "LOAD DATA INFILE 's3://b?access-key=1' INTO TABLE t",
  "CREATE TABLE t (a INT) ENGINE=FEDERATED CONNECTION='mysql://u:x@h/d/t'",
  "CREATE TABLE t (a INT) ENGINE=CONNECT COMMENT='mysql://u:x@h/d'",
  "SELECT PASSWORD('x')",
  "SELECT old_password ('x')",
  "SELECT `password`('x')",
  "SELECT AES_DECRYPT(a, 'key') FROM t",
  "UPDATE mysql.user SET authentication_string = 'x'",
  "UPDATE user SET `authentication_string` = 'x'",
  "INSERT INTO mysql.global_priv VALUES ('h', 'u', '{}')",
  "INSERT INTO `mysql`.`servers` VALUES ('x')",
  "SET GLOBAL keyring_vault_password = 'x'",
  "SET @@global.wsrep_sst_auth = 'u:x', @@global.some_password = 'y'",
  "CREATE TABLE t (a INT) ENGINE=SPIDER COMMENT='wrapper \"mysql\", user \"root\", password \"x\", table \"t\"'",
  "CREATE TABLE t (a INT) ENGINE=CONNECT TABLE_TYPE=MYSQL OPTION_LIST='host=h,user=root,password=x'",
  "SET GLOBAL wsrep_sst_auth='root:x'",
  "SET @@global.wsrep_sst_auth='root:x'",
  "SET GLOBAL authentication_ldap_simple_bind_root_pwd='x'",
  "SET PERSIST authentication_ldap_sasl_bind_root_pwd = 'x'",
  "CALL mysql.rds_set_external_master('h', 3306, 'repl', 'x', 'f', 1, 0)",
  "CALL `mysql`.`rds_set_external_source`('h', 3306, 'repl', 'x', 'f', 1, 0)",
  "CALL mysql.az_replication_change_master('h', 'u', 'x', 3306, 'f', 1, '')",
  "SELECT * INTO OUTFILE 's3://b?access-key=A&secret-access-key=x' FROM t",
  // Hidden from whoever looks at the first words.
  "/* a */ CREATE /* b */ USER a",
  '-- a\nCREATE USER a',
  '# SELECT 1\nCREATE USER a',
  "/*!50000 CREATE USER a IDENTIFIED BY 'x' */",
  "/*!99999 SELECT 1; */ CREATE USER a",
  "/*M!100000 ALTER USER a IDENTIFIED BY 'x' */",
  "/*T![auth] ALTER USER a */",
  "CREATE /*!50000 OR REPLACE */ USER a",
  "CREATE /*!99999 TABLE t (a INT) COMMENT='*/ USER a IDENTIFIED BY 'x'",
  "SELECT 1; ALTER USER a IDENTIFIED BY 'x'",
  "SELECT 'a\\'; '; CREATE USER a",
  'SELECT /*+ QB_NAME(`*/ 1 -- `) */ 1; \nCREATE USER a',
  "EXPLAIN FORMAT=JSON SELECT PASSWORD('x')",
  "SET STATEMENT max_statement_time=1 FOR ALTER USER a IDENTIFIED BY 'x'",
  "BEGIN NOT ATOMIC CREATE USER a IDENTIFIED BY 'x'; END",
  "CREATE PROCEDURE p() ALTER USER a IDENTIFIED BY 'x'",
  "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SET PASSWORD FOR a = 'x'",
  "PREPARE s FROM 'CREATE USER a IDENTIFIED BY ''x'''",
  "PREPARE s FROM 'CREATE/**/USER a'",
  "PREPARE s FROM \"ALTER USER a IDENTIFIED BY 'x'\"",
  "PREPARE s FROM 'CREA\\TE USER a'",
  "EXECUTE IMMEDIATE 'CREATE USER a'",
  "EXECUTE IMMEDIATE CONCAT('CREATE USER ', 'a IDENTI', 'FIED BY 1')",
  "PREPARE s FROM x'43524541544520555345522061'",
  'EXECUTE IMMEDIATE 0x43524541544520555345522061',
  "EXECUTE IMMEDIATE UNHEX('4352')",
  "SET @s = 'CREATE USER a IDENTIFIED BY ''x'''",
  "SELECT 'ALTER USER a IDENTIFIED BY 1' INTO @s",
  "SELECT @s := 'CREATE USER a'",
  "CALL run('SET PASSWORD = 1')",
  // In doubt.
  "CREATE USER a IDENTIFIED BY 'x",
  '/* CREATE USER a',
  'CREATE\u{a0}USER\u{a0}a',
  "SELECT 1 FROM t WHERE a = 'CREATE USER",
  "SELECT SPIDER_DIRECT_SQL('SELECT 1', '', 'user \"u\", password \"x\"')",
];

test('statements with secrets are found, whatever hides them', () => {
  for (const text of secrets) expect([text, mayHoldSecret(text, plain, '')]).toEqual([text, true]);
});

const ordinary = [
  'SELECT * FROM user WHERE id = 1',
  "SELECT password FROM accounts WHERE name = 'x'",
  "UPDATE accounts SET password = 'x' WHERE id = 1",
  "INSERT INTO users (name, password) VALUES ('a', 'b')",
  "INSERT INTO log VALUES ('CREATE USER a IDENTIFIED BY 1')",
  "INSERT INTO links VALUES ('https://u:x@host/')",
  'SELECT server, master, connection FROM replication',
  "SET NAMES utf8mb4", "SET SESSION sql_mode = 'ANSI'", 'SET autocommit = 0', 'SET @a = 1',
  'CREATE TABLE user (id INT, password VARCHAR(64))', 'DROP USER a', 'REVOKE ALL ON *.* FROM a', 'CREATE TABLE server (a INT)',
  "PREPARE s FROM 'SELECT ?'", 'EXECUTE s USING @a', 'EXECUTE s', 'PREPARE s FROM @text', 'DEALLOCATE PREPARE s',
  'BEGIN', 'COMMIT', '', ';', '/*!40101 SET NAMES utf8 */', 'SHOW TABLES', 'CALL p(1)', 'SELECT CURRENT_USER()', 'SHOW GRANTS',
  'INSERT INTO auth (token) VALUES (1)', 'SELECT user()',
];

test('ordinary statements, and the data of applications, are not taken for secrets', () => {
  for (const text of ordinary) expect([text, mayHoldSecret(text, plain, '')]).toEqual([text, false]);
});

test('quotes are read as the session reads them', () => {
  const asString = `INSERT INTO t VALUES ("; CREATE USER a")`;
  expect(mayHoldSecret(asString, plain, '')).toBe(false);
  const behindBackslash = `SELECT '\\'; CREATE USER a IDENTIFIED BY 'x'`;
  expect(mayHoldSecret(behindBackslash, noEscapes, '')).toBe(true);
  expect(mayHoldSecret('INSERT INTO t VALUES ("a\\"); CREATE USER a IDENTIFIED BY "b")', ansi, '')).toBe(true);
});

test('tables of accounts have their names alone where their schema is the database', () => {
  for (const text of ["INSERT INTO user VALUES ('h', 'u', 'x')", "REPLACE INTO servers VALUES ('s', 'h', 'db', 'root', 'x')", "UPDATE `user` SET a = 'x'"]) {
    expect([text, mayHoldSecret(text, plain, 'mysql'), mayHoldSecret(text, plain, 'shop')]).toEqual([text, true, false]);
    expect([text, mayHoldSecret(`use/**/MySQL; ${text}`, plain, 'shop'), mayHoldSecret(`USE other; ${text}`, plain, 'shop')]).toEqual([text, true, false]);
  }
  expect(mayHoldSecret("INSERT INTO slave_master_info VALUES (1, 'x')", plain, 'mysql')).toBe(true);
});

test('tells after which statements the tables of accounts may need no schema', () => {
  for (const text of ['USE mysql', 'use `mysql`', 'SELECT 1; USE mysql', "EXECUTE IMMEDIATE 'USE mysql'"]) expect([text, mayUseAccountSchema(text)]).toEqual([text, true]);
  for (const text of ['USE shop', 'SELECT * FROM mysql.user', "INSERT INTO mysql.t VALUES ('of no use')"]) expect([text, mayUseAccountSchema(text)]).toEqual([text, false]);
});

test('where quotes cannot be told apart, a word is enough', () => {
  expect(mayHoldSecret("INSERT INTO t VALUES ('CREATE USER a')", undefined, '')).toBe(true);
  expect(mayHoldSecret("PREPARE s FROM '\u{bf}\\''", undefined, '')).toBe(true);
  expect(mayHoldSecret("INSERT INTO t VALUES ('\u{bf}\\'')", undefined, '')).toBe(false);
});

test('a long statement without a suspicious word costs one pass', () => {
  const long = `INSERT INTO t VALUES ${"(1, 'some value of a row'), ".repeat(40_000)}(1, 'x')`;
  const begun = performance.now();
  for (let i = 0; i < 10; i++) expect(mayHoldSecret(long, plain, '')).toBe(false);
  expect(performance.now() - begun).toBeLessThan(2_000);
});

test('no text takes longer than its length allows', () => {
  const n = 262_144;
  const texts = [
    `CALL p('://${':'.repeat(n)}')`, `SET @a='://${'x:'.repeat(n / 2)}'`, `SELECT 1 /*${'/*+'.repeat(n / 3)} user */`, `SET @a='${'create '.repeat(n / 7)}' -- identifie`, `CALL p('${'://'.repeat(n / 3)}') -- user`, `SELECT '${'/*!'.repeat(n / 3)}' /*! user */`,
    `SELECT 1 /*! user */${' '.repeat(n)}x`, `INSERT INTO t VALUES ('${'insert '.repeat(n / 7)}', 'server')`,
  ];
  for (const text of texts) {
    const begun = performance.now();
    mayHoldSecret(text, plain, 'mysql');
    expect([text.slice(0, 30), performance.now() - begun < 1_000]).toEqual([text.slice(0, 30), true]);
  }
});
