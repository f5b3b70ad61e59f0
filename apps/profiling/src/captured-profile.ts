/** `heap` is V8's sampling heap, `native-heap` jemalloc's. */
export type ProfileKind = 'cpu' | 'heap' | 'native-heap';

/** What a full queue or a busy target means for a capture: wait for its turn, or refuse at once. */
export type WhenBusy = 'wait' | 'refuse';

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
