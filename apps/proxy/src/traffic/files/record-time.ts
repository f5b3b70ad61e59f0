const microsecondsPerSecond = 1_000_000;
/** `2026-11-21T09:05:07` */
const secondBytes = 19;
/** `2026-11-21T09:05:07.470123Z` */
export const timeBytesMax = secondBytes + 1 + 6 + 1;

/** Writes times as RFC 3339 in UTC, the fraction without its last zeros, as Go does. Keeps the text of the last second. */
export class TimeWriter {
  readonly #text = Buffer.alloc(secondBytes);
  #second = Number.NaN;

  /** Returns the offset behind it. */
  write(target: Buffer, at: number, timeUs: number): number {
    const second = Math.floor(timeUs / microsecondsPerSecond);
    if (second !== this.#second) {
      this.#text.write(new Date(second * 1_000).toISOString(), 'latin1');
      this.#second = second;
    }
    const text = this.#text;
    for (let index = 0; index < secondBytes; index++) target[at++] = text[index] as number;
    let rest = timeUs - second * microsecondsPerSecond;
    if (rest > 0) {
      target[at++] = 0x2e;
      for (let unit = 100_000; rest > 0; unit /= 10) {
        const digit = Math.floor(rest / unit);
        target[at++] = 0x30 + digit;
        rest -= digit * unit;
      }
    }
    target[at++] = 0x5a;
    return at;
  }
}

/** Reads RFC 3339 as Go does: up to the last digit of the fraction, behind a point or a comma; a zone is needed. Keeps the last second. */
export class TimeReader {
  readonly #text = Buffer.alloc(secondBytes);
  #secondUs = Number.NaN;

  /** In microseconds since 1970, later digits are dropped. NaN: not such a time. */
  read(source: Buffer, from: number, to: number): number {
    if (to - from <= secondBytes) return Number.NaN;
    const text = this.#text;
    let isSame = true;
    for (let index = 0; index < secondBytes; index++) {
      if (source[from + index] === text[index]) continue;
      isSame = false;
      break;
    }
    if (!isSame || Number.isNaN(this.#secondUs)) {
      source.copy(text, 0, from, from + secondBytes);
      this.#secondUs = secondOf(text.toString('latin1'));
    }
    let at = from + secondBytes;
    let fractionUs = 0;
    if (source[at] === 0x2e || source[at] === 0x2c) {
      const first = ++at;
      for (let unit = 100_000; isDigit(source[at]) && at < to; at++, unit /= 10) {
        if (unit >= 1) fractionUs += unit * ((source[at] as number) - 0x30);
      }
      if (at === first) return Number.NaN;
    }
    if (source[at] === 0x5a && at + 1 === to) return this.#secondUs + fractionUs;
    return this.#secondUs + fractionUs - zoneUs(source.toString('latin1', at, to));
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function secondOf(text: string): number {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(text)) return Number.NaN;
  const time = Date.parse(`${text}Z`);
  // The 31st of a short month, and hour 24, would be another day.
  const isReal = !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
  return isReal ? time * 1_000 : Number.NaN;
}

function zoneUs(text: string): number {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)$/.exec(text) ?? [];
  if (hours === undefined || Number(hours) > 24 || Number(minutes) > 59) return Number.NaN;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60 * microsecondsPerSecond;
}
