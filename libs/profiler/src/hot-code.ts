import { setFlagsFromString } from 'node:v8';

let done = false;

/**
 * V8's profiler knows the code that it finds in the heap when it starts. Optimised code that replaced a loop on the stack
 * ("OSR") is not there: a hot function keeps running in code without a name, and its samples go to its caller.
 *
 * So the first call in a process forbids Maglev to do that from now on, which is what loses names (measured: V8's other
 * optimising compiler keeps them), and throws away what is optimised already, by the switch to precise coverage and back:
 * about 5 ms, after which the hot functions are optimised again. Later calls do nothing: code that became hot in between
 * has its name.
 *
 * Resolves to true when this was the first call. Without an inspector only the flag is set.
 */
export async function keepNamesOfHotCode(): Promise<boolean> {
  if (done) return false;
  done = true;
  setFlagsFromString('--no-maglev-osr');
  // Coverage that is being taken for NODE_V8_COVERAGE would be reset.
  if (process.env['NODE_V8_COVERAGE'] !== undefined) return false;
  try {
    const { Session } = await import('node:inspector');
    const session = new Session();
    session.connect();
    for (const [method, parameters] of deoptimisation) session.post(method, parameters);
    session.disconnect();
  } catch {
    // Built without an inspector, or the permission model forbids it: the first profile may miss names, no more.
  }
  return true;
}

/** Inspector calls that make V8 discard the optimised code of the thread they are sent to. */
export const deoptimisation: readonly (readonly [method: string, parameters: object])[] = [
  ['Profiler.enable', {}],
  ['Profiler.startPreciseCoverage', { callCount: false, detailed: false }],
  ['Profiler.stopPreciseCoverage', {}],
  ['Profiler.disable', {}],
];
