import type { Clock } from '@binnacle/cluster-state/clock';

/*
 * A bucket of tokens for each client address; a wrong key takes one, and an address without tokens is refused unread.
 * A bucket is one number: the time at which it will be full again. n tokens are missing while that time is n refills ahead.
 */

/** Wrong keys an address may show at once: a person who mistypes, or a few clients of one machine that still hold an old key. */
export const failuresAtOnceMax = 20;
/** One more every so often: 1200 guesses an hour from one address. A key of 32 random characters has 2^190 values. */
export const refillMs = 3_000;
/** About 100 bytes an address, so 1 MB. Beyond it the address that failed longest ago is forgotten, never a newcomer refused. */
export const addressesMax = 10_000;

/** When the bucket will be full again after one more failure now. */
export function fullAtAfterFailure(fullAtMs: number, nowMs: number): number {
  return Math.max(fullAtMs, nowMs) + refillMs;
}

/** How long until the bucket has a token, in milliseconds; 0 when it has one. */
export function waitForTokenMs(fullAtMs: number, nowMs: number): number {
  return Math.max(0, fullAtMs - nowMs - (failuresAtOnceMax - 1) * refillMs);
}

/** Limits how fast keys can be guessed. It counts by address, so nobody is locked out by what others do elsewhere. */
export class FailedAttempts {
  /** In the order of the last failure, the oldest first. */
  readonly #fullAtMs = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** 0 when the address may try; else how long it has to wait. */
  waitMs(address: string): number {
    if (this.#fullAtMs.size === 0) return 0;
    const fullAtMs = this.#fullAtMs.get(networkOf(address));
    return fullAtMs === undefined ? 0 : waitForTokenMs(fullAtMs, this.clock.monotonicMs());
  }

  record(address: string): void {
    const network = networkOf(address);
    const nowMs = this.clock.monotonicMs();
    const fullAtMs = fullAtAfterFailure(this.#fullAtMs.get(network) ?? nowMs, nowMs);
    this.#fullAtMs.delete(network);
    this.#fullAtMs.set(network, fullAtMs);
    this.#forgetOldest(nowMs);
  }

  addressCount(): number {
    return this.#fullAtMs.size;
  }

  #forgetOldest(nowMs: number): void {
    for (const [network, fullAtMs] of this.#fullAtMs) {
      if (fullAtMs > nowMs && this.#fullAtMs.size <= addressesMax) return;
      this.#fullAtMs.delete(network);
    }
  }
}

/** An IPv4 address as it is; of IPv6 the first 64 bits, since a single customer is given that many addresses and more. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1] as string;
  const [before = '', after] = (address.split('%')[0] as string).toLowerCase().split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const zeros = after === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...new Array<string>(zeros).fill('0'), ...tail];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
