export const eventPriorities = ['normal', 'low'] as const;
export const eventTypes = ['info', 'warning', 'error', 'success'] as const;

/** Something that happened: an event of gostatsd or DogStatsD, or the result of a service check. A row of the table `events`. */
export interface MetricEvent {
  /** Of a service check its name. */
  readonly title: string;
  readonly text: string;
  /** Seconds since 1970. */
  readonly happenedAtS: number;
  /** Host that it is about, as the sender says; else where it came from. */
  readonly source: string;
  readonly aggregationKey: string;
  readonly sourceTypeName: string;
  readonly tags: readonly string[];
  readonly priority: (typeof eventPriorities)[number];
  /** Of a service check: ok is success, unknown is info. */
  readonly type: (typeof eventTypes)[number];
  readonly kind: 'event' | 'service-check';
}
