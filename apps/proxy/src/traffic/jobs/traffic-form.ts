import { BinnacleError } from '@binnacle/contracts/errors';
import { bodyObject, bodyText } from '@binnacle/node-kit/request-body';
import type { RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { parseGoBoolean, parseGoTime } from './go-values.js';

/** Of one field; passwords and paths are shorter, and a list of digests is at most 100 x 65. */
const fieldCharactersMax = 8_192;

/** The fields of a form, urlencoded or JSON, each asked for by its name: what nobody has asked for at the end is a mistake of the client's. */
export class TrafficForm {
  readonly #fields = new Map<string, string>();
  readonly #known = new Set<string>();

  /** Throws BAD_REQUEST on what is no form, on a field that is given twice, or on one that is no text, number or boolean. */
  constructor(fields: Iterable<readonly [string, unknown]>) {
    for (const [name, value] of fields) {
      if (this.#fields.has(name)) throw bad(`${shown(name)} is given twice`);
      if (value === null) continue;
      if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') throw bad(`${shown(name)} must be a text, a number, or true or false`);
      const text = String(value);
      if (text.length > fieldCharactersMax || text.includes('\0')) throw bad(`${shown(name)} is longer than ${fieldCharactersMax} characters, or has a NUL in it`);
      this.#fields.set(name, text);
    }
  }

  static of(request: RawBodyRequest<FastifyRequest>): TrafficForm {
    const text = bodyText(request).trim();
    return new TrafficForm(text.startsWith('{') ? Object.entries(bodyObject(request)) : new URLSearchParams(text));
  }

  /** Empty where it is not given. */
  text(name: string): string {
    this.#known.add(name);
    return this.#fields.get(name) ?? '';
  }

  /** As Go's `ParseBool` reads it. */
  boolean(name: string, otherwise: boolean): boolean {
    const text = this.text(name);
    if (text === '') return otherwise;
    const value = parseGoBoolean(text);
    if (value === undefined) throw bad(`strconv.ParseBool: parsing ${shown(text)}: invalid syntax: ${name} is true or false`);
    return value;
  }

  number(name: string, otherwise: number): number {
    const text = this.text(name);
    if (text === '') return otherwise;
    if (!/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?$/i.test(text)) throw bad(`strconv.ParseFloat: parsing ${shown(text)}: invalid syntax: ${name} is a number`);
    return Number(text);
  }

  /** An RFC 3339 time as it was given; undefined where it was not. */
  time(name: string): string | undefined {
    const text = this.text(name);
    if (text === '') return undefined;
    if (parseGoTime(text) === undefined) throw bad(`${name} must be a time such as 2026-11-21T09:05:07Z, not ${shown(text)}`);
    return text;
  }

  /** Parts between commas; empty ones are left out. */
  list(name: string, partsMax: number): string[] {
    const parts = this.text(name).split(',').map((part) => part.trim()).filter((part) => part !== '');
    if (parts.length > partsMax) throw bad(`${name} has more than ${partsMax} parts`);
    return parts;
  }

  /** Throws BAD_REQUEST, with the names there are, when a field was given that no one has asked for. */
  end(): void {
    const unknown = [...this.#fields.keys()].find((name) => !this.#known.has(name));
    if (unknown !== undefined) throw bad(`there is no field ${shown(unknown)}: there are ${[...this.#known].join(', ')}`);
  }
}

export function bad(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}

export function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
