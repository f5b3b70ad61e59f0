/* Before the first test of a run: `tmpdir()` is a folder of this run, of which nothing stays, however the run ends. */
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Waits for the end of the one who holds the pipe; then ends whatever process still knows the folder by its environment, and deletes it. */
const guard = `
  read _
  for process in /proc/[0-9]*; do
    [ "$process" != "/proc/$$" ] && grep -qzx "TMPDIR=$1" "$process/environ" && kill -9 "\${process#/proc/}"
  done
  for attempt in 1 2 3; do
    rm -rf "$1" && break
    sleep 1
  done`;

export default function ownTemporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-tests-'));
  process.env.TMPDIR = folder;
  const child = spawn('sh', ['-c', guard, 'guard', folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  child.unref();
  child.stdin.unref();
}
