/** `results` must not begin as `traffic` does, which all that TiProxy looks at begins with. */
export type FilePrefix = 'traffic' | 'results';

export const metaName = 'meta';
/** Ends the name of a file that is being written, or that a killed process left. No TiProxy reads such a name. */
export const partSuffix = '.part';

/** One file, told by its name. */
export interface NamedFile {
  readonly name: string;
  readonly prefix: FilePrefix;
  /** By time, as v1.3, main and Binnacle name them; counted, as v1.4 does; the one that v1.3 was writing. */
  readonly scheme: 'time' | 'number' | 'current';
  /** Of its scheme. Times are compared as text, numbers as numbers. */
  readonly time: string;
  readonly number: number;
  readonly isGzip: boolean;
  readonly isPart: boolean;
}

const pattern = /^(traffic|results)(?:-(?:(\d{1,15})|(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d{0,9})?)))?\.log(\.gz)?(\.part)?$/;

/** Undefined: no name of a file of records or results. */
export function namedFile(name: string): NamedFile | undefined {
  const [, prefix, number, time, gz, part] = pattern.exec(name) ?? [];
  if (prefix === undefined) return undefined;
  const scheme = time !== undefined ? 'time' : number !== undefined ? 'number' : 'current';
  return { name, prefix: prefix as FilePrefix, scheme, time: time ?? '', number: Number(number ?? 0), isGzip: gz !== undefined, isPart: part !== undefined };
}

const schemes = ['number', 'time', 'current'] as const;

/** In the order of writing: files of an earlier release before those of a later one, and what v1.3 was writing last. */
export function compareFiles(a: NamedFile, b: NamedFile): number {
  if (a.scheme !== b.scheme) return schemes.indexOf(a.scheme) - schemes.indexOf(b.scheme);
  return a.number - b.number || compareTexts(withDigits(a.time), withDigits(b.time)) || Number(a.isPart) - Number(b.isPart);
}

/** Main cuts the last zeros of the fraction, and the point. */
function withDigits(time: string): string {
  return (time.includes('.') ? time : `${time}.`).padEnd('2026-11-21T09-05-07.'.length + 9, '0');
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/**
 * Times for names: local, as TiProxy reads them, always three digits, because v1.3 wants exactly those. Each is later than the one before, also when
 * the clock was set back, and in the hour that comes twice when summer time ends.
 */
export class NameTimes {
  /** What the clock on the wall shows, as if it were UTC. */
  #wallMs = 0;

  next(nowMs: number): string {
    const wallMs = nowMs - new Date(nowMs).getTimezoneOffset() * 60_000;
    this.#wallMs = Math.max(wallMs, this.#wallMs + 1);
    return new Date(this.#wallMs).toISOString().slice(0, -1).replaceAll(':', '-');
  }
}
