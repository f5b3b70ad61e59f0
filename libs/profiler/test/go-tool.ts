import { spawnSync } from 'node:child_process';

/** The `go` program, whose `go tool pprof` judges our profiles. */
export function goTool(): string {
  const found = ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go'].find((program) => spawnSync(program, ['version']).status === 0);
  if (found === undefined) throw new Error('go is missing: apt-get install golang-go');
  return found;
}
