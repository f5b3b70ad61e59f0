import { setFlagsFromString } from 'node:v8';

/*
 * V8's profiler knows the code that it finds in the heap when it starts. Optimised code that replaced a running loop on the stack
 * ("OSR") is not there: a hot function keeps running in code without a name, and its samples go to its caller.
 *
 * So Maglev is forbidden to replace running loops, which is what loses names (measured: of V8's other optimising compiler the profiler
 * learns), and before every profile each thread throws its optimised code away, by the switch to precise coverage and back: about 5 ms,
 * after which the hot functions are optimised again. Before every one, because code that was optimised between two profiles does not know
 * what was inlined where: of a hot function in a loop of its caller's, 10 to 17 % of the samples had its name, and 95 to 100 % so.
 */

/** Inspector calls that make V8 discard the optimised code of the thread they are sent to. */
export const deoptimisation: readonly (readonly [method: string, parameters: object])[] = [
  ['Profiler.enable', {}],
  ['Profiler.startPreciseCoverage', { callCount: false, detailed: false }],
  ['Profiler.stopPreciseCoverage', {}],
  ['Profiler.disable', {}],
];

/** For code compiled from now on, in all threads. Whether what is compiled has to be discarded. */
export function keepNamesOfHotCode(): boolean {
  setFlagsFromString('--no-maglev-osr');
  // What is being counted for NODE_V8_COVERAGE would be lost.
  return process.env['NODE_V8_COVERAGE'] === undefined;
}
