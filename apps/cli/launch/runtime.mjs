/*
 * Plain JavaScript that runs on any Node.js a machine may have: it sees to it that what follows runs on one that is new enough.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const nodeVersion = '24.21.0';
const oldestMajor = 22;
const oldestMinor = 19;

function isNewEnough() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

/** The npm registry has Node.js itself as a package per platform: a binary and no install script. */
function installNode() {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'binnacle', `node-${nodeVersion}`);
  const bin = join(folder, 'node_modules', name, 'bin');
  if (!existsSync(join(bin, 'node'))) {
    console.log(`Node.js ${process.versions.node} is too old (${oldestMajor}.${oldestMinor} or newer is needed): installing ${name}@${nodeVersion} into ${folder}`);
    mkdirSync(folder, { recursive: true });
    const args = ['install', '--prefix', folder, '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'];
    try {
      execFileSync('npm', [...args, `${name}@${nodeVersion}`], { stdio: ['ignore', 'inherit', 'inherit'] });
    } catch {
      console.error(`Could not install it. Install Node.js ${nodeVersion.split('.')[0]} by hand (https://nodejs.org) and run this again.`);
      process.exit(1);
    }
  }
  return bin;
}

/** The folder of a Node.js that is new enough, or undefined when this process already runs on one. */
export function newerNodeFolder() {
  return isNewEnough() ? undefined : installNode();
}

/** Runs a command to its end with this terminal; signals are passed on, so that it can drain. Resolves with its exit code. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', ...options });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? (signal ? 1 : 0)));
  });
}
