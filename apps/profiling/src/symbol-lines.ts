import { BinnacleError } from '@binnacle/contracts/errors';
import type { RawBodyRequest } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/** Half a second of work for the profiled node. */
const addressesMax = 100_000;

/**
 * The addresses in a body like `0x56424a39c97e+0x564251100e4c`: hexadecimal, in small letters and without 0x. What is no address, and zero, is
 * skipped, as TiFlash does. curl says that the body is a form, in which `+` would be a space: so the bytes are read, not the parsed body.
 */
export function requestedAddresses({ rawBody, body }: RawBodyRequest<FastifyRequest>): string[] {
  const bytes = rawBody ?? body;
  const text = Buffer.isBuffer(bytes) || typeof bytes === 'string' ? bytes.toString() : '';
  const addresses = text.split('+').flatMap((part) => {
    const digits = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(part.trim())?.[1];
    const address = digits?.toLowerCase().replace(/^0+/, '') ?? '';
    return address === '' ? [] : [address];
  });
  if (addresses.length > addressesMax) throw new BinnacleError('BAD_REQUEST', `at most ${addressesMax} addresses at once`);
  return addresses;
}

/** A line for each: `0xaddress name`. */
export function symbolLines(addresses: readonly string[], names: readonly string[]): string {
  return addresses.map((address, index) => `0x${address} ${names[index] ?? '??'}\n`).join('');
}
