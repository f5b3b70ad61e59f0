import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';

/** What `require` says of a program or library that is not there: a plain error, because jest cannot report one of spawn's. */
export function needs(found: boolean, debianPackage: string): void {
  if (!found) throw new Error(`apt-get install ${debianPackage}`);
}

const library = globSync('/usr/lib/*/libjemalloc.so.2')[0];
const prelude = `const load = (name) => import(${JSON.stringify(new URL('../dist/', import.meta.url).href)} + name + '.js');\n`;

/**
 * Runs a script in a process of its own that has jemalloc in place of the C library's allocator. `load(name)` in it imports a file of
 * this library. Returns what it prints, parsed as JSON.
 */
export function underJemalloc<T>(script: string, options: { mallocConf?: string; env?: NodeJS.ProcessEnv } = {}): T {
  needs(library !== undefined, 'libjemalloc2');
  const env = { ...process.env, LD_PRELOAD: library, MALLOC_CONF: options.mallocConf ?? '', ...options.env };
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', prelude + script], { env, encoding: 'utf8', timeout: 120_000 })) as T;
}
