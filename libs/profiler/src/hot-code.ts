import { setFlagsFromString } from 'node:v8';

/*
 * V8's profiler does not know all code that runs. Measured on a function that is called in a loop, by the share of its samples that had its
 * name (Node.js 24.21; the rest went to its caller), over captures of 1 s:
 *
 * - as it is: 0 to 20 %. Code that was optimised before the profiler started does not tell what was inlined where;
 * - with that code thrown away when the capture starts: 20 to 100 %. Maglev, the middle compiler, does not tell either what it inlined;
 * - and with Maglev not inlining: 92 to 100 %, in every capture of a process (15 captures while other work took most of the machine).
 *
 * So both is done. What is really hot ends up in the last compiler, which still does all of it; throwing the code away takes about 5 ms.
 */

/** Inspector calls that make V8 discard the optimised code of the thread they are sent to. */
export const deoptimisation: readonly (readonly [method: string, parameters: object])[] = [
  ['Profiler.enable', {}],
  ['Profiler.startPreciseCoverage', { callCount: false, detailed: false }],
  ['Profiler.stopPreciseCoverage', {}],
  ['Profiler.disable', {}],
];

/**
 * For code compiled from now on, in all threads. Whether what is compiled has to be discarded.
 *
 * Not `--no-maglev-osr` as well: it would end the process where Maglev has put code in the place of a running loop, or is about to, because V8
 * insists on that flag whenever it stores or drops such code.
 */
export function keepNamesOfHotCode(): boolean {
  setFlagsFromString('--no-maglev-inlining');
  // What is being counted for NODE_V8_COVERAGE would be lost.
  return process.env['NODE_V8_COVERAGE'] === undefined;
}
