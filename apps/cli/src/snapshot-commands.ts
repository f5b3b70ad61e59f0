import { restoreSnapshot } from '@binnacle/storage/snapshot/restore-snapshot';
import { verifySnapshot } from '@binnacle/storage/snapshot/verify-snapshot';
import type { Command } from 'commander';

const mebibyte = 2 ** 20;
/** On a terminal the line is written over itself; in a log file each is one more. */
const [terminalIntervalMs, fileIntervalMs] = [200, 10_000];

/** `binnacle snapshot verify` and `binnacle restore`. Exit code 1, and the reason on standard error, when something is wrong. */
export function addSnapshotCommands(program: Command): void {
  program
    .command('snapshot')
    .description('look at snapshots; one is made by POST /operations/snapshot?snapshot_path=PATH')
    .command('verify')
    .description('compare every byte of a snapshot with its manifest')
    .argument('<dir>', 'folder of the snapshot')
    .action((folder: string) => orFail(() => verify(folder)));
  program
    .command('restore')
    .description('make an empty folder the data folder that a snapshot was taken of')
    .argument('<dir>', 'folder of the snapshot')
    .requiredOption('--data-dir <folder>', 'empty, or not there yet')
    .action((folder: string, { dataDir }: { dataDir: string }) => orFail(() => restore(folder, dataDir)));
}

async function verify(folder: string): Promise<void> {
  const progress = new ProgressLine();
  const { manifest, problems } = await verifySnapshot(folder, (done, total) => progress.show('verified', done, total));
  progress.end();
  if (problems.length > 0) throw new Error(`${folder} is damaged:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  const { node, createdAt, version, files } = manifest;
  console.log(`${folder} is good: node ${node}, ${createdAt}, version ${version}, ${files.length} files, ${inMegabytes(files.reduce((sum, { bytes }) => sum + bytes, 0))} MB`);
}

async function restore(folder: string, dataDir: string): Promise<void> {
  const progress = new ProgressLine();
  await restoreSnapshot(folder, dataDir, (what, done, total) => progress.show(what, done, total));
  progress.end();
  console.log(`${dataDir} is restored: start a node on it with BINNACLE_DATA_DIR=${dataDir}`);
}

async function orFail(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    console.error(`binnacle: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

class ProgressLine {
  #shownAtMs = performance.now();
  #isOpen = false;

  show(what: string, doneBytes: number, totalBytes: number): void {
    const { isTTY } = process.stderr;
    const nowMs = performance.now();
    const isLast = isTTY && doneBytes >= totalBytes;
    if (!isLast && nowMs - this.#shownAtMs < (isTTY ? terminalIntervalMs : fileIntervalMs)) return;
    this.#shownAtMs = nowMs;
    this.#isOpen = isTTY;
    process.stderr.write(`${isTTY ? '\r' : ''}${what} ${inMegabytes(doneBytes)} of ${inMegabytes(totalBytes)} MB${isTTY ? '' : '\n'}`);
    if (isLast) this.end();
  }

  end(): void {
    if (this.#isOpen) process.stderr.write('\n');
    this.#isOpen = false;
  }
}

function inMegabytes(bytes: number): string {
  return (bytes / mebibyte).toFixed(1);
}
