import { loadConfig } from '@binnacle/node-kit/load-config';
import { openRemoteStore } from '@binnacle/storage/remote/open-remote-store';
import { remoteSnapshotName, verifyRemoteSnapshot } from '@binnacle/storage/snapshot/remote-snapshot';
import { restoreRemoteSnapshot, restoreSnapshot } from '@binnacle/storage/snapshot/restore-snapshot';
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
    .argument('<snapshot>', 'its folder, or remote:NAME')
    .action((snapshot: string) => orFail(() => verify(snapshot)));
  program
    .command('restore')
    .description('make an empty folder the data folder that a snapshot was taken of')
    .argument('<snapshot>', 'its folder, or remote:NAME')
    .requiredOption('--data-dir <folder>', 'empty, or not there yet')
    .action((snapshot: string, { dataDir }: { dataDir: string }) => orFail(() => restore(snapshot, dataDir)));
}

async function verify(snapshot: string): Promise<void> {
  const progress = new ProgressLine();
  const show = (done: number, total: number): void => progress.show('verified', done, total);
  const name = remoteSnapshotName(snapshot);
  const { manifest, problems } = name === undefined ? await verifySnapshot(snapshot, show) : await withRemoteStore((store) => verifyRemoteSnapshot(store, name, show));
  progress.end();
  if (problems.length > 0) throw new Error(`${snapshot} is damaged:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  const { node, createdAt, version, files } = manifest;
  console.log(`${snapshot} is good: node ${node}, ${createdAt}, version ${version}, ${files.length} files, ${inMegabytes(files.reduce((sum, { bytes }) => sum + bytes, 0))} MB`);
}

async function restore(snapshot: string, dataDir: string): Promise<void> {
  const progress = new ProgressLine();
  const show = (what: string, done: number, total: number): void => progress.show(what, done, total);
  const name = remoteSnapshotName(snapshot);
  if (name === undefined) await restoreSnapshot(snapshot, dataDir, show);
  else await withRemoteStore((store) => restoreRemoteSnapshot(store, name, dataDir, show));
  progress.end();
  console.log(`${dataDir} is restored: start a node on it with BINNACLE_DATA_DIR=${dataDir}`);
}

/** The one the nodes of this machine have: by the environment, and the file that BINNACLE_CONFIG names. */
async function withRemoteStore<T>(work: (store: Awaited<ReturnType<typeof openRemoteStore>>) => Promise<T>): Promise<T> {
  const store = await openRemoteStore(loadConfig({ argv: [], env: process.env }));
  return work(store).finally(() => store.close());
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
