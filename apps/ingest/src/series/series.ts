import type { MetricKind } from './metric-kind.js';
import type { TimerFigures } from './timer-figures.js';
import { Tallies } from './tallies.js';
import { Values } from './values.js';

/** What a series is called: kind, name, tags and source together are its identity. Its keyspace is among the tags. */
export interface SeriesIdentity {
  readonly kind: MetricKind;
  readonly name: string;
  /** As `normalTags` gives them. */
  readonly tags: readonly string[];
  /** The host it is of; may be empty. */
  readonly source: string;
}

abstract class AnySeries {
  /** When something last came for it, on the monotonic clock, as the end of its interval or the first time in this one says; -1: never. */
  lastHeardMs = -1;
  /** Something came since the last flush. */
  wasHeard = false;
  /** It has expired: whoever still holds it looks for it anew. */
  isGone = false;
  /** Another one adds it up: what comes here is handed over at each flush. */
  isHandedOver = false;
  /** What its owner is found by, once it has been asked for. */
  hash: number | undefined;
  owner = '';
  /** For which set of owners `owner` holds. */
  ownerEpoch = 0;
  /** It was added up here at the last flush in which it was heard. */
  isOwn = false;
  /** It stands for series that had no room. */
  isOverflow = false;
  /** Of the store, in which it last got something or was closed. */
  interval = 0;

  constructor(readonly identity: SeriesIdentity) {}
}

let lastId = 0;

/** A series that is one number until the next flush. */
abstract class TalliedSeries extends AnySeries {
  /** Not 0, and no other one's: after 2^31 of them they begin anew. */
  readonly id = (lastId = (lastId % 0x7fff_ffff) + 1);
  /** Among the tallies. */
  readonly place: number;

  /** @param tallies of its store; its own if it is in none */
  constructor(
    identity: SeriesIdentity,
    private readonly tallies = new Tallies(),
  ) {
    super(identity);
    this.place = tallies.take();
  }

  /** Of a counter since the last flush; of a gauge that another one adds up, while it has not been set since then, the sum of its changes. */
  get value(): number {
    return this.tallies.values[this.place] as number;
  }

  set value(value: number) {
    this.tallies.values[this.place] = value;
  }
}

export class CounterSeries extends TalliedSeries {
  readonly kind = 'counter';
  /** Since the series began, up to the last flush. */
  total = 0;
}

export class GaugeSeries extends TalliedSeries {
  readonly kind = 'gauge';
  wasSet = false;
}

export class TimerSeries extends AnySeries {
  readonly kind = 'timer';
  readonly values = new Values();
  /** Values since the last flush, those that sampling left out included. */
  sampledCount = 0;
  /** Since the series began, up to the last flush, made up for sampling. */
  totalCount = 0;
  totalSum = 0;
  /** Of the last interval in which something came. */
  figures: TimerFigures | undefined;
}

export class SetSeries extends AnySeries {
  readonly kind = 'set';
  readonly members = new Set<string>();
  /** Members of the last interval. */
  count = 0;
}

export type Series = CounterSeries | GaugeSeries | TimerSeries | SetSeries;

export function newSeries(identity: SeriesIdentity, tallies?: Tallies): Series {
  switch (identity.kind) {
    case 'counter':
      return new CounterSeries(identity, tallies);
    case 'gauge':
      return new GaugeSeries(identity, tallies);
    case 'timer':
      return new TimerSeries(identity);
    case 'set':
      return new SetSeries(identity);
  }
}
