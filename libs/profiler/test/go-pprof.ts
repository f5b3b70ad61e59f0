import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The `go` program, whose `go tool pprof` judges our profiles. */
export function goTool(): string {
  const found = ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go'].find((program) => spawnSync(program, ['version']).status === 0);
  if (found === undefined) throw new Error('go is missing: apt-get install golang-go');
  return found;
}

/** `value` and `percent` of the whole count what the function calls, too; `value` is in the unit asked for (`-unit`). */
export interface TopRow {
  readonly name: string;
  readonly value: number;
  readonly percent: number;
}

/** What `go tool pprof` prints for a profile given as base64. */
export async function goPprof(profile: string, ...options: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'binnacle-pprof-'));
  try {
    const file = join(folder, 'profile.pb.gz');
    await writeFile(file, Buffer.from(profile, 'base64'));
    const { stdout } = await run(goTool(), ['tool', 'pprof', ...options, file], { timeout: 120_000, env: { ...process.env, PPROF_TMPDIR: folder } });
    return stdout;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The rows of `go tool pprof -top`. */
export async function goTop(profile: string, ...options: string[]): Promise<TopRow[]> {
  const text = await goPprof(profile, '-top', '-nodecount=500', ...options);
  const rows = text.matchAll(/^\s*\S+\s+[\d.]+%\s+[\d.]+%\s+([\d.]+)\w*\s+([\d.]+)%\s+(.+)$/gm);
  return [...rows].map(([, value, percent, name = '']) => ({ name, value: Number(value), percent: Number(percent) }));
}

/** Of one function; zeros when the profile does not name it. */
export async function goRow(profile: string, name: string, ...options: string[]): Promise<TopRow> {
  const rows = await goTop(profile, ...options);
  return rows.find((row) => row.name === name) ?? { name, value: 0, percent: 0 };
}
