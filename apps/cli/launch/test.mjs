/* `npm test`: installs if needed, sees that the real servers are there, then builds, lints, type-checks and tests every project. */
import { execFileSync } from 'node:child_process';
// The whole module, because an older Node.js, which also reads this file, has no globSync to import.
import fs from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './runtime.mjs';
import { installIfNeeded, onNewEnoughNode, root } from './workspace.mjs';

/** What the tests start by themselves, and the Debian package that brings it. */
const requirements = [
  { package: 'redis-server', found: () => onPath('redis-server') },
  { package: 'redis-tools', found: () => onPath('redis-cli') },
  { package: 'openssl', found: () => onPath('openssl') },
  { package: 'curl', found: () => onPath('curl') },
  { package: 'libjemalloc2', found: () => fs.globSync('/usr/lib/*/libjemalloc.so.2').length > 0 },
  { package: 'libjemalloc-dev', found: () => onPath('jeprof') },
  { package: 'binutils', found: () => onPath('nm') && onPath('readelf') },
  { package: 'golang-go', found: () => onPath('go') || fs.existsSync('/usr/local/go/bin/go') },
  { package: 'chromium', found: () => onPath('chromium') },
  // The S3 server; `monmaptool` comes with the monitor.
  { package: 'ceph-mon', found: () => onPath('ceph-mon') && onPath('monmaptool') },
  { package: 'ceph-osd', found: () => onPath('ceph-osd') },
  { package: 'ceph-common', found: () => onPath('ceph') },
  { package: 'mariadb-server', found: () => onPath('mariadbd') && onPath('mariadb-install-db') },
  { package: 'mariadb-client', found: () => onPath('mariadb') },
  { package: 'galera-4', found: () => fs.existsSync('/usr/lib/galera/libgalera_smm.so') },
  { package: 'lz4', found: () => onPath('lz4') },
  { package: 'netcat-openbsd', found: () => onPath('nc') },
  { package: 'protobuf-compiler', found: () => onPath('protoc') },
  { package: 'radosgw', found: () => onPath('radosgw') && onPath('radosgw-admin') },
];

function onPath(program) {
  return (process.env.PATH ?? '').split(':').some((folder) => fs.existsSync(join(folder, program)));
}

function installRequirements() {
  const missing = requirements.filter((requirement) => !requirement.found()).map((requirement) => requirement.package);
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    console.error(`The tests start real servers, and this machine lacks: ${missing.join(', ')}.\nInstall them and run this again:\n  sudo ${command}`);
    process.exit(1);
  }
  console.log(`The tests start real servers. Installing: ${command}`);
  // Debian starts a server at its installation where it can; the tests want none but their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  execFileSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env });
  execFileSync('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'], env });
}

/** With more of them failing, something is broken, and a second run would only take time. */
const suitesAgainMax = 5;

const projects = () => fs.globSync('{apps,libs}/*/package.json', { cwd: root });
const resultFiles = () => fs.globSync('{apps,libs}/*/test-results.json', { cwd: root }).map((file) => join(root, file));

function nx(...args) {
  return run(process.execPath, [join(root, 'node_modules/.bin/nx'), 'run-many', '--outputStyle=stream', ...args], { cwd: root });
}

/**
 * The tests start real servers, and a machine that does much else at the time can be too slow for some of them: where only a few suites
 * failed, those run once more, alone. What passes only then is named.
 */
async function runFailedAgain() {
  const failed = resultFiles().flatMap((file) => {
    const result = JSON.parse(fs.readFileSync(file, 'utf8'));
    return result.testResults.filter(({ status }) => status === 'failed').map((suite) => ({ file, result, suite }));
  });
  if (failed.length > suitesAgainMax) return;
  for (const { file, result, suite } of failed) {
    const again = `${file}.again`;
    await run('npm', ['test', '--', suite.name, '--json', `--outputFile=${again}`], { cwd: dirname(file) });
    const second = fs.existsSync(again) ? JSON.parse(fs.readFileSync(again, 'utf8')) : { success: false };
    fs.rmSync(again, { force: true });
    if (!second.success) continue;
    printFailures(suite);
    console.log(`PASSED when run again: ${relative(root, suite.name)}`);
    result.testResults = result.testResults.map((each) => (each === suite ? second.testResults[0] : each));
    fs.writeFileSync(file, JSON.stringify(result));
  }
}

function sumResults() {
  let passed = 0;
  let failed = 0;
  for (const file of resultFiles()) {
    for (const suite of JSON.parse(fs.readFileSync(file, 'utf8')).testResults) {
      const ended = (status) => suite.assertionResults.filter((test) => test.status === status).length;
      passed += ended('passed');
      // A suite that could not even be loaded counts as one failure.
      failed += suite.status === 'failed' ? Math.max(1, ended('failed')) : 0;
      printFailures(suite);
    }
  }
  return { passed, failed };
}

/** The output of all suites is long, and some keep only its end: what failed, and why, is said there once more. */
function printFailures(suite) {
  if (suite.status !== 'failed') return;
  const failures = suite.assertionResults.filter((test) => test.status === 'failed');
  if (failures.length === 0) console.log(`FAILED ${relative(root, suite.name)}\n${suite.message}`);
  for (const test of failures) console.log(`FAILED ${relative(root, suite.name)}: ${test.fullName}\n${test.failureMessages.join('\n').slice(0, 2_000)}`);
}

await onNewEnoughNode(fileURLToPath(import.meta.url));
await installIfNeeded();
installRequirements();
for (const file of resultFiles()) fs.rmSync(file);

const checked = await nx('-t', 'build', 'typecheck', 'lint');
const tested = await nx('-t', 'test', '--parallel=1', '--nxBail=false', '--', '--json', '--outputFile=test-results.json', ...process.argv.slice(2));
if (tested !== 0) await runFailedAgain();
const { passed, failed } = sumResults();
// Build, type check and lint count as one check; so does every project whose tests ended without results.
const broken = (checked === 0 ? 0 : 1) + projects().length - resultFiles().length;
console.log(`${passed} passed, ${failed + broken} failed`);
process.exit(failed + broken === 0 ? 0 : 1);
