import { setFlagsFromString } from 'node:v8';

/*
 * V8's profiler knows the code that it finds in the heap when it starts. Optimised code that replaced a running loop on the stack
 * ("OSR") is not there: a hot function keeps running in code without a name, and its samples go to its caller.
 *
 * So before its first profile a process forbids Maglev to replace running loops, which is what loses names (measured: of V8's
 * other optimising compiler the profiler learns), and every thread throws its optimised code away, by the switch to precise
 * coverage and back: about 5 ms, after which the hot functions are optimised again. Later profiles need neither.
 */

/** Inspector calls that make V8 discard the optimised code of the thread they are sent to. */
export const deoptimisation: readonly (readonly [method: string, parameters: object])[] = [
  ['Profiler.enable', {}],
  ['Profiler.startPreciseCoverage', { callCount: false, detailed: false }],
  ['Profiler.stopPreciseCoverage', {}],
  ['Profiler.disable', {}],
];

let forbidden = false;

/** For code compiled from now on, in all threads. True when this is the first call, and what is compiled has to be discarded. */
export function keepNamesOfHotCode(): boolean {
  if (forbidden) return false;
  forbidden = true;
  setFlagsFromString('--no-maglev-osr');
  // What is being counted for NODE_V8_COVERAGE would be lost.
  return process.env['NODE_V8_COVERAGE'] === undefined;
}
