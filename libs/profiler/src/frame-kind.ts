import type { Frame } from './call-tree.js';

/** What a frame runs in; renderings colour by it. */
export type FrameKind = 'javascript' | 'native' | 'gc' | 'idle';

const scheme = /^(?:node|file|wasm|webpack|https?):|^evalmachine\.|^\[eval|^internal\//;
const extension = /\.[cm]?[jt]sx?(?:[?#].*)?$/;

/** By the names that V8's profilers give: files of scripts are JavaScript, everything else (object files, C, Go, no file at all) is native. */
export function frameKind({ name, fileName }: Frame): FrameKind {
  if (name === '(garbage collector)' || name === 'Garbage Collection') return 'gc';
  if (name === '(idle)') return 'idle';
  return scheme.test(fileName) || extension.test(fileName) || name.startsWith('(anonymous') ? 'javascript' : 'native';
}
