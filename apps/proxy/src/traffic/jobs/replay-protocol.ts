import type { ExplainOrder } from '../plans/explain-capture.js';
import type { ReplayOrder, ReplayProgress } from '../replay/replay-order.js';
import type { TrafficFacts } from '../report/traffic-report.js';

/* What a node and the process that replays for it say to each other, over the channel of `fork`. */

export type ToReplay =
  | { readonly kind: 'replay'; readonly order: ReplayOrder }
  /** Of a capture that has ended; nothing else comes before or after it. */
  | { readonly kind: 'explain'; readonly order: ExplainOrder }
  /** Stop reading; what was sent is waited for. */
  | { readonly kind: 'cancel'; readonly reason: string };

export type FromReplay =
  /** It listens. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: ReplayProgress }
  /** What is odd about the files, for people; at most `warningsMax`. */
  | { readonly kind: 'warning'; readonly text: string }
  | { readonly kind: 'facts'; readonly facts: TrafficFacts }
  | { readonly kind: 'explained'; readonly plans: number }
  /** It could not; the text is for people. */
  | { readonly kind: 'failed'; readonly error: string };

export const warningsMax = 20;
