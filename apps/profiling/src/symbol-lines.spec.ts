import { expect, test } from '@jest/globals';
import { requestedAddresses, symbolLines } from './symbol-lines.js';

const addresses = (body: string) => requestedAddresses({ body: Buffer.from(body) } as never);

test('addresses are joined by + and hexadecimal, with 0x or without', () => {
  expect(addresses('0x56424a39c97e+564251100E4C')).toEqual(['56424a39c97e', '564251100e4c']);
});

test('what is no address, and zero, is skipped', () => {
  expect(addresses('0x0+xyz++0x00000000000000000001+ 0x10\n+0+-1+0x')).toEqual(['10']);
  expect(addresses('')).toEqual([]);
});

test('the bytes are read where a form parser has made spaces of the plus signs', () => {
  expect(requestedAddresses({ rawBody: Buffer.from('0x1+0x2'), body: { '0x1 0x2': '' } } as never)).toEqual(['1', '2']);
});

test('without a body there are none', () => expect(requestedAddresses({ body: undefined } as never)).toEqual([]));

test('more than can be asked for are refused', () => {
  expect(() => addresses('1+'.repeat(100_001))).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
});

test('a line for each, with ?? for a name that is missing', () => {
  expect(symbolLines(['1', 'ff'], ['_ZN4node5StartEiPPc'])).toBe('0x1 _ZN4node5StartEiPPc\n0xff ??\n');
});
