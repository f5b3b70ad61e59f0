/*
 * MariaDB's own tests, direct and through the proxy, after a build:  node apps/proxy/test/mariadb-suite.trial.mjs [tests, as main.select,main.join; default: all of main that need no options of the server] [minutes for each way]
 * Needs the package mariadb-test. Prints the tests that pass on one way and not on the other, with the first lines that differ, and writes both lists beside each other to suite-results.json in the current folder.
 * Each way has a server of its own, with the options that the tests expect; what a test leaves behind may fail another one, so those that differ are tried once more, alone, on fresh servers.
 */
import './typescript-files.mjs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { startProxy } = await import('./proxy-process.js');

const suite = '/usr/share/mysql/mysql-test';
const minutes = Number(process.argv[3] ?? 25);
const wanted = process.argv[2]?.split(',') ?? plainTests();
const folder = mkdtempSync(join(tmpdir(), 'binnacle-suite-'));

/** What stops the server, or another one, cannot run against a server that is there. */
const needsItsOwnServer = /shutdown|restart|kill_mysqld|kill_and|start_mysqld|have_debug|have_binlog|have_log_bin|master-slave|have_ssl|big_test|MYSQLD_LAST_CMD|MYSQL_DUMP|MYSQL_UPGRADE|MYSQL_INSTALL|MYSQL_CHECK|max_statement_time|MYSQLD_CMD/;

/** Of the suite main, those without an options file. */
function plainTests() {
  const files = readdirSync(join(suite, 'main'));
  const special = new Set(files.filter((file) => /\.(opt|cnf|combinations|sh|slave-mi)$/.test(file)).map((file) => file.replace(/(-(master|slave|client))?\.\w+$|-slave-mi$/, '')));
  return files.filter((file) => file.endsWith('.test')).map((file) => file.slice(0, -'.test'.length)).filter((name) => !special.has(name) && !needsItsOwnServer.test(readFileSync(join(suite, 'main', `${name}.test`), 'latin1'))).map((name) => `main.${name}`);
}

const serverArgs = [
  '--skip-name-resolve=0', '--local-infile', '--character-set-server=latin1', '--log-bin-trust-function-creators=1', '--sort-buffer-size=256K', '--max-heap-table-size=1M', '--key-buffer-size=1M', '--connect-timeout=60',
  '--default-storage-engine=myisam', '--use-stat-tables=preferably', '--histogram-type=json_hb', '--skip-log-bin', '--innodb-lru-scan-depth=100', '--plugin-maturity=unknown', '--log-basename=mysqld',
];

/** A server and, for one of the ways, a proxy before it. */
async function startWay(throughProxy) {
  const server = await startMariadb({ args: [...serverArgs, `--secure-file-priv=${folder}`] });
  await server.sql("SET PASSWORD FOR root@'127.0.0.1' = PASSWORD(''); CREATE DATABASE mtr; SET PASSWORD FOR root@localhost = PASSWORD('')");
  const proxy = throughProxy ? await startProxy({ backends: [`127.0.0.1:${server.port}`], healthPassword: '', users: { root: '' } }) : undefined;
  const stop = async () => {
    await proxy?.stop();
    await server.stop();
  };
  // The runner makes it.
  return { port: proxy?.port ?? server.port, vardir: join(folder, `var-${server.port}`), stop };
}

/** Results by name: pass, fail or skipped; and what the runner printed. */
async function run(throughProxy, tests, limitMinutes) {
  const way = await startWay(throughProxy);
  try {
    const extern = [`host=127.0.0.1`, `port=${way.port}`, 'user=root', 'protocol=tcp'].flatMap((option) => ['--extern', option]);
    const limits = ['--force', '--max-test-fail=0', '--retry=0', '--testcase-timeout=3', `--suite-timeout=${limitMinutes}`, '--nowarnings', '--nocheck-testcases', '--skip-test-list=/dev/null'];
    const child = spawn('perl', ['mysql-test-run.pl', `--vardir=${way.vardir}`, ...extern, ...limits, ...tests], { cwd: suite, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('latin1').on('data', (text) => (output += text));
    await once(child, 'exit');
    const results = new Map([...output.matchAll(/^(main\.\S+)(?: '[^']*')?\s+(?:w\d+ )?\[ (pass|fail|skipped) \]/gm)].map(([, name, result]) => [name, result]));
    return { results, output };
  } finally {
    await way.stop();
  }
}

/** What the runner printed of one failure: the lines of the difference, and no more than some. */
function failureText(output, name) {
  const at = output.search(new RegExp(`^${name.replaceAll('.', '\\.')}(?: '[^']*')?\\s.*\\[ fail \\]`, 'm'));
  return output.slice(at, at + 6_000).split('\n').filter((line) => /^[-+][^-+]|mysqltest: |errno|ERROR/.test(line)).slice(0, 14).join('\n    ');
}

try {
  if (!existsSync(suite)) throw new Error('the package mariadb-test is not installed');
  console.log(`${wanted.length} tests`);
  const direct = await run(false, wanted, minutes);
  console.log(`direct: ${count(direct.results)}`);
  // What does not even pass without the proxy says nothing.
  const passing = [...direct.results].filter(([, result]) => result === 'pass').map(([name]) => name);
  const proxied = await run(true, passing, minutes);
  console.log(`through the proxy, of those that passed: ${count(proxied.results)}`);
  writeFileSync('suite-results.json', JSON.stringify({ direct: [...direct.results], proxied: [...proxied.results] }));
  const differing = passing.filter((name) => proxied.results.get(name) !== 'pass' && proxied.results.has(name));
  for (const name of differing) {
    const again = await run(false, [name], 5);
    const alone = await run(true, [name], 5);
    const verdict = again.results.get(name) !== 'pass' ? 'does not pass alone without the proxy either' : (alone.results.get(name) ?? 'not run');
    console.log(`${name}: ${verdict}${verdict === 'fail' ? `\n    ${failureText(alone.output, name)}` : ''}`);
  }
  const unrun = passing.filter((name) => !proxied.results.has(name));
  if (unrun.length > 0) console.log(`not run through the proxy: ${unrun.join(' ')}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function count(results) {
  const of = (wantedResult) => [...results.values()].filter((result) => result === wantedResult).length;
  return `${of('pass')} pass, ${of('fail')} fail, ${of('skipped')} skipped`;
}
