/** `heap` is V8's sampling heap, `native-heap` jemalloc's. */
export type ProfileKind = 'cpu' | 'heap' | 'native-heap';

/** What a busy target means for a capture: wait for its turn, refuse at once, or refuse at once and also end for the first that comes later. */
export type WhenBusy = 'wait' | 'refuse' | 'give way';

/** One finished capture, as it goes to the client and into the history. */
export interface CapturedProfile {
  /** The node's id; `*` for the profiles of several nodes merged into one. */
  readonly node: string;
  readonly kind: ProfileKind;
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** A gzipped pprof protobuf. */
  readonly pprof: Buffer;
}
