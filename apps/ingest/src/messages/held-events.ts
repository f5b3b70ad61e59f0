import type { MetricEvent } from './metric-event.js';

/** Until the next flush; further ones are refused over HTTP, and dropped where they come as lines. */
const eventsMax = 10_000;
/** Of their texts together. */
const charactersMax = 16 * 2 ** 20;
/** Of every text, beside its characters. */
const textOverhead = 32;

/** The events of an interval. */
export class HeldEvents {
  #events: MetricEvent[] = [];
  #characters = 0;

  /** How much of the room for them is taken; whoever adds beyond 1 makes it more than that. */
  fullness(): number {
    return Math.max(this.#events.length / eventsMax, this.#characters / charactersMax);
  }

  /** Adds it where there is room, and tells whether there was. */
  offer(event: MetricEvent): boolean {
    if (this.fullness() >= 1) return false;
    this.add(event);
    return true;
  }

  add(event: MetricEvent): void {
    const { title, text, source, aggregationKey, sourceTypeName, tags } = event;
    this.#events.push(event);
    for (const texts of [[title, text, source, aggregationKey, sourceTypeName], tags]) for (const each of texts) this.#characters += each.length + textOverhead;
  }

  /** Those since the last call. */
  take(): readonly MetricEvent[] {
    const events = this.#events;
    this.#events = [];
    this.#characters = 0;
    return events;
  }
}
