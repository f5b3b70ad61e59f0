import type { ReplayOrder, ReplayProgress } from '../replay/replay-order.js';
import type { TrafficFacts } from '../report/traffic-report.js';

/* What a node and the process that replays for it say to each other, over the channel of `fork`. */

export type ToReplay =
  | { readonly kind: 'replay'; readonly order: ReplayOrder }
  /** Stop reading; what was sent is waited for. */
  | { readonly kind: 'cancel'; readonly reason: string };

export type FromReplay =
  /** It listens. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: ReplayProgress }
  | { readonly kind: 'facts'; readonly facts: TrafficFacts }
  /** It could not replay; the text is for people. */
  | { readonly kind: 'failed'; readonly error: string };
