/* `npm test`: installs if needed, sees that the real servers are there, then builds, lints, type-checks and tests every project. */
import { execFileSync } from 'node:child_process';
// The whole module, because an older Node.js, which also reads this file, has no globSync to import.
import fs from 'node:fs';
import { join, relative } from 'node:path';
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

const resultFiles = () => fs.globSync('{apps,libs}/*/test-results.json', { cwd: root }).map((file) => join(root, file));

function nx(...args) {
  return run(process.execPath, [join(root, 'node_modules/.bin/nx'), 'run-many', '--outputStyle=stream', ...args], { cwd: root });
}

/** Every suite that could not even be loaded counts as one failure. */
function sumResults() {
  let passed = 0;
  let failed = 0;
  for (const file of resultFiles()) {
    const result = JSON.parse(fs.readFileSync(file, 'utf8'));
    passed += result.numPassedTests;
    failed += result.numFailedTests + result.numRuntimeErrorTestSuites;
    for (const suite of result.testResults) printFailures(suite);
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
const { passed, failed } = sumResults();
// Build, type check and lint count as one check; a test run that broke without saying so counts as one failure.
const broken = (checked === 0 ? 0 : 1) + (tested !== 0 && failed === 0 ? 1 : 0);
console.log(`${passed} passed, ${failed + broken} failed`);
process.exit(failed + broken === 0 && passed > 0 ? 0 : 1);
