import { createRequire } from 'node:module';
import type { Profile } from 'pprof-format';
import { CapabilityMissing } from './capture-errors.js';

const require = createRequire(import.meta.url);
type Library = typeof import('pprof');

/** What is used of pprof, with its profiles typed as ours: it has the CommonJS twin of the same class. */
export interface Pprof {
  readonly time: Pick<Library['time'], 'start' | 'isStarted'> & { stop(): Profile };
  readonly heap: Pick<Library['heap'], 'start' | 'stop'> & {
    profile(ignored: undefined, sourceMapper: import('pprof').SourceMapper): Profile;
  };
}

/** Loaded at the first capture: an idle node pays neither for the native part nor for the modules around it. */
export function loadPprof(): Pprof {
  try {
    return require('pprof') as unknown as Pprof;
  } catch (error) {
    const where = `${process.platform} ${process.arch}, Node.js ${process.version}`;
    throw new CapabilityMissing(`the package @datadog/pprof does not load on ${where}: install it there again`, { cause: error });
  }
}

/** Throws a RangeError that names the option and its range. */
export function requireRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${name} must be ${min} to ${max}`);
}
