/* Before the first test of a run: `tmpdir()` is a folder of this run, of which nothing stays, however the run ends. */
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function ownTemporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-tests-'));
  process.env.TMPDIR = folder;
  // Reads from a pipe that only this process holds open; a process of a test that is ending may still write, so it tries again.
  const script = 'read _; for attempt in 1 2 3; do rm -rf "$1" && break; sleep 1; done';
  const guard = spawn('sh', ['-c', script, 'guard', folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  guard.unref();
  guard.stdin.unref();
}
