/*
 * How the product's process is started, and the image starts it the same way. jemalloc comes in place of the C library's allocator: what
 * native code holds can then be profiled. It has to be there when a process starts.
 */
import { existsSync } from 'node:fs';

export const nodeFlags = ['--enable-source-maps'];

/**
 * Besides, where rows are stored: the young objects of the main thread may fill 8 MB twice over, and not 64 MB. V8 takes it only when the process
 * starts. The other roles go without.
 */
export const storageFlags = ['--max-semi-space-size=8'];

/**
 * Profiling costs nothing until it is switched on; `libs/profiler/bench/native-heap.bench.ts` is why it is 16. What was freed goes back to
 * the system after half a second and not after ten, also what threads freed that sleep since: an import frees some hundred megabytes meanwhile.
 */
export const mallocConf = 'prof:true,prof_active:false,lg_prof_sample:16,dirty_decay_ms:500,background_thread:true';

const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
/** Debian and Ubuntu, Fedora, Arch, and what was built by hand. */
const places = [`/usr/lib/${machine}-linux-gnu/`, '/usr/lib64/', '/usr/lib/', '/usr/local/lib/'];

/**
 * The environment in which the product starts, and a line for the person who started it. An LD_PRELOAD or MALLOC_CONF of theirs stays as
 * it is: it may be another allocator.
 */
export function withJemalloc(env, { platform = process.platform, folders = places } = {}) {
  if (platform !== 'linux' || machine === undefined) return { env, line: 'native memory cannot be profiled on this platform: that needs Linux and jemalloc' };
  if (env.LD_PRELOAD) return { env, line: `LD_PRELOAD is set already: ${env.LD_PRELOAD}` };
  const library = folders.map((folder) => `${folder}libjemalloc.so.2`).find((path) => existsSync(path));
  if (library === undefined)
    return { env, line: 'native memory cannot be profiled without jemalloc: apt-get install libjemalloc2, then start again' };
  const conf = env.MALLOC_CONF || mallocConf;
  return { env: { ...env, LD_PRELOAD: library, MALLOC_CONF: conf }, line: `jemalloc is preloaded: ${library} (${conf})` };
}
