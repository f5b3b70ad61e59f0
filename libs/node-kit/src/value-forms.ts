import { isIP } from 'node:net';
import { ValidateBy } from 'class-validator';
import type { ValueForm } from './config-key.js';

/*
 * Values that TiProxy's files write in their own way. Every `read` also takes the text of a flag or of the environment.
 */

const unitMs: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const durationText = /^(\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/;

/** Milliseconds, written as Go does: `60s`, `1m30s`; a bare number is nanoseconds, as in Go. */
export const goDuration: ValueForm = {
  read(value) {
    if (typeof value === 'number') return value / 1e6;
    if (typeof value !== 'string') return value;
    if (/^\d+$/.test(value)) return Number(value) / 1e6;
    if (!durationText.test(value)) return value;
    return [...value.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * (unitMs[unit as string] as number), 0);
  },
  show: (ms: number) => (ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`),
};

/** A list that TiProxy writes as one text with commas; a real list will do too. */
export const commaList: ValueForm = {
  read: (value) => (typeof value === 'string' ? value.split(',').map((part) => part.trim()).filter((part) => part !== '') : value),
  show: (list: readonly string[]) => list.join(','),
};

/** A list of whole numbers: `[6000, 6010]`, or `6000,6010`. */
export const numberList: ValueForm = {
  read: (value) => (typeof value === 'string' ? (value.trim() === '' ? [] : value.split(',').map(Number)) : value),
  show: (list: readonly number[]) => list,
};

/** A table of texts with names of their own choice: `zone=east,rack=1` outside the file. */
export const textTable: ValueForm = {
  read(value) {
    if (typeof value !== 'string') return value;
    const parts = value.split(',').map((part) => part.trim()).filter((part) => part !== '');
    return parts.every((part) => part.includes('=')) ? Object.fromEntries(parts.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)])) : value;
  },
  show: (table: Readonly<Record<string, string>>) => table,
};

/** Levels under the names of other loggers too. */
export const logLevel: ValueForm = {
  read: (value) => (value === 'warning' ? 'warn' : value === 'panic' ? 'fatal' : value),
  show: (level: string) => level,
};

/** A rule in code, for what the ready-made ones cannot say; the key says in words what is allowed. */
export function Satisfies(what: string, holds: (value: unknown) => boolean): PropertyDecorator {
  return ValidateBy({ name: 'satisfies', validator: { validate: holds, defaultMessage: () => `$property must be ${what}` } });
}

/** `host:port`, `[::1]:port`, `:port` (every address). */
export function splitAddress(text: string): { host: string; port: number } | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^\s:[\]/]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6)) return undefined;
  return { host: bracketed ?? plain ?? '', port };
}

/** As `splitAddress`, of one that can be dialled: with a host and a port. */
export function peerAddress(text: string): { host: string; port: number } | undefined {
  const address = splitAddress(text);
  return address !== undefined && address.host !== '' && address.port > 0 ? address : undefined;
}

export const isAddress = (value: unknown): boolean => typeof value === 'string' && splitAddress(value) !== undefined;
export const isPeer = (value: unknown): boolean => typeof value === 'string' && peerAddress(value) !== undefined;
export const isListOf = (holds: (value: unknown) => boolean) => (value: unknown): boolean => Array.isArray(value) && value.length <= 1_024 && value.every(holds);

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** `10.0.0.0/8`, `2001:db8::/32`, or one address. */
export function isNetwork(value: unknown): boolean {
  const [, address = '', bits] = (typeof value === 'string' && /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value)) || [];
  const version = isIP(address);
  return version !== 0 && Number(bits ?? 0) <= (version === 4 ? 32 : 128);
}

export const isTextTable = (value: unknown): boolean =>
  isTable(value) && Object.keys(value).length <= 64 && Object.entries(value).every(([name, text]) => /^[\w./-]{1,64}$/.test(name) && typeof text === 'string' && text.length <= 256);
