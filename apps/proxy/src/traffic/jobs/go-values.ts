import { goDuration } from '@binnacle/node-kit/value-forms';

/*
 * Values of TiProxy's forms, read and written as Go does. Texts of errors are Go's: programs that talk to TiProxy know them.
 */

/** Milliseconds of `90m`, `1h30m`, `1.5s`. Throws in Go's words on anything else; `1d` is no duration there. */
export function parseGoDuration(text: string): number {
  const quoted = JSON.stringify(text.slice(0, 100));
  if (/^[+-]?\d+(\.\d*)?$/.test(text) && Number(text) !== 0) throw new Error(`time: missing unit in duration ${quoted}`);
  const [, sign = '', digits = ''] = /^([+-]?)(.*)$/s.exec(text) ?? [];
  const ms = digits === '0' ? 0 : /[a-zµ]/.test(digits) ? goDuration.read(digits.replaceAll('μ', 'µ')) : undefined;
  if (typeof ms === 'number') return sign === '-' ? -ms : ms;
  const unit = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))*\d+(?:\.\d+)?([^\d.]+)/.exec(digits)?.[1];
  throw new Error(unit === undefined ? `time: invalid duration ${quoted}` : `time: unknown unit ${JSON.stringify(unit.slice(0, 100))} in duration ${quoted}`);
}

/** `1h30m0s`, `2m0s`, `1.5s`, `250ms`. */
export function goDurationText(ms: number): string {
  if (ms === 0) return '0s';
  if (ms < 1_000) return `${Number(ms.toFixed(6))}ms`;
  const seconds = Number(((ms % 60_000) / 1_000).toFixed(9));
  const minutes = Math.floor(ms / 60_000);
  if (minutes === 0) return `${seconds}s`;
  return minutes < 60 ? `${minutes}m${seconds}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}s`;
}

const booleans: Readonly<Record<string, boolean>> = { 1: true, t: true, T: true, true: true, TRUE: true, True: true, 0: false, f: false, F: false, false: false, FALSE: false, False: false };

/** Undefined for what Go's `ParseBool` refuses. */
export function parseGoBoolean(text: string): boolean | undefined {
  return Object.hasOwn(booleans, text) ? booleans[text] : undefined;
}

/** Milliseconds since 1970 of an RFC 3339 time with its zone; undefined for anything else. */
export function parseGoTime(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const ms = Date.parse(text.replace(',', '.'));
  return Number.isNaN(ms) ? undefined : ms;
}

/** `2026-11-21T09:05:07Z`: to the second, as TiProxy shows its jobs' times. */
export function goTimeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
