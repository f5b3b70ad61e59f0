import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect the heaps of this process, once few of its objects are left, when they have doubled and not when they are four times as large:
 * some tens of megabytes less during an import. Much less than doubled would cost much more, because buffers count too, and those come and go
 * by the megabyte. Young objects of the main thread are limited when the process starts (`storageFlags` of `apps/cli/launch/preload.mjs`).
 */
export function limitHeapGrowth(): void {
  setFlagsFromString('--heap-growing-percent=100');
}
