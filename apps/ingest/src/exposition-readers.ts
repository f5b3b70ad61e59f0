import type { Clock } from '@binnacle/cluster-state/clock';
import { BinnacleError } from '@binnacle/contracts/errors';
import type { ServerResponse } from 'node:http';

/** Each may hold a whole exposition in memory for as long as it reads. */
export const readersMax = 4;
/** For the whole answer. */
export const readMsMax = 30_000;

/** Who reads an exposition: so many at a time, so long at the most, and those who ask while one is made get that one. */
export class ExpositionReaders<Made> {
  readonly #making = new Map<string, Promise<Made>>();
  #readers = 0;

  constructor(private readonly clock: Clock) {}

  /** Until the answer is sent or its time is up. Throws OVERLOADED. */
  begin(answer: ServerResponse): void {
    if (this.#readers >= readersMax) throw new BinnacleError('OVERLOADED', `${readersMax} others are being told what was ingested`, { retryAfterS: 1 });
    this.#readers += 1;
    const cancel = this.clock.after(readMsMax, () => answer.destroy());
    answer.once('close', () => {
      cancel();
      this.#readers -= 1;
    });
  }

  shared(name: string, make: () => Promise<Made>): Promise<Made> {
    const known = this.#making.get(name);
    if (known !== undefined) return known;
    const making = make().finally(() => this.#making.delete(name));
    this.#making.set(name, making);
    return making;
  }
}
