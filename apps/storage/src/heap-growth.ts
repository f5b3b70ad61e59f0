import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 keep the heap of this process near what lives in it. Most objects of an import live a little too long to die young, and by
 * default more than 100 MB of them come together before they are collected, besides 120 MB of young ones for each thread. V8 takes both
 * flags while it runs; call it before threads are started. The main thread's share of the second is decided when the process starts
 * (`nodeFlags` of `apps/cli/launch/preload.mjs`).
 */
export function limitHeapGrowth(): void {
  // Collected when it has grown by a third, not by up to three times.
  setFlagsFromString('--heap-growing-percent=30');
  setFlagsFromString('--max-semi-space-size=8');
}
