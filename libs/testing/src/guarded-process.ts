import { spawn, type ChildProcess } from 'node:child_process';

/**
 * Starts something that ends a process and deletes its folder as soon as this process is gone, however it went:
 * a shell that reads from a pipe which only we hold open. An exit handler would not run after `kill -9`.
 */
export function guardProcess(pid: number, folder: string): () => void {
  const script = 'read _; kill -9 "$1" 2>/dev/null; rm -rf "$2"';
  const guard = spawn('sh', ['-c', script, 'guard', String(pid), folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  guard.unref();
  (guard.stdin as unknown as { unref(): void }).unref();
  return () => guard.kill('SIGKILL');
}

/** Resolves at once when the process has ended already. */
export async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => child.once('exit', () => resolve()));
}
