import { expect, test } from '@jest/globals';
import { seededRandom } from '@binnacle/testing/seeded-random';
import { MalformedPacketError } from './malformed-packet-error.js';
import { encodeProxyHeader, parseProxyHeader, type ProxyHeader } from './proxy-protocol.js';

const tlvs = [{ type: 0x02, value: Buffer.from('db.example') }, { type: 0xea, value: Buffer.alloc(0) }];
const headers: ProxyHeader[] = [
  { proxied: true, source: { address: '192.0.2.7', port: 51_000 }, destination: { address: '198.51.100.1', port: 6_000 }, tlvs },
  { proxied: true, source: { address: '2001:db8::1', port: 1 }, destination: { address: '::1', port: 65_535 }, tlvs: [] },
  { proxied: false, source: undefined, destination: undefined, tlvs: [] },
];

test('headers come out as they went in, TLVs included, and what follows is left', () => {
  for (const header of headers) {
    const bytes = encodeProxyHeader(header);
    expect(parseProxyHeader(Buffer.concat([bytes, Buffer.from('the next')]))).toEqual({ header, length: bytes.length });
    for (let length = 0; length < bytes.length; length++) expect(parseProxyHeader(bytes.subarray(0, length))).toBeUndefined();
  }
});

test('the bytes are those of the specification', () => {
  const bytes = encodeProxyHeader({ ...headers[0]!, tlvs: [] });
  expect(bytes.toString('hex')).toBe(`0d0a0d0a000d0a515549540a2111000c${'c0000207'}${'c6336401'}${'c738'}${'1770'}`);
});

test('mixed addresses are both IPv6', () => {
  const bytes = encodeProxyHeader({ proxied: true, source: { address: '192.0.2.7', port: 1 }, destination: { address: '::1', port: 2 }, tlvs: [] });
  expect(parseProxyHeader(bytes)?.header.source?.address).toBe('::ffff:c000:207');
});

test('version 1, other bytes and too many are refused at once', () => {
  expect(() => parseProxyHeader(Buffer.from('PROXY TCP4 192.0.2.7'))).toThrow('version 1 is not spoken here');
  expect(() => parseProxyHeader(Buffer.from([0x4a]))).toThrow(MalformedPacketError);
  expect(() => parseProxyHeader(encodeProxyHeader({ ...headers[0]!, tlvs: [{ type: 1, value: Buffer.alloc(9_000) }] }))).toThrow('at most 8192 bytes');
});

test('mutated headers are malformed, incomplete or understood', () => {
  const random = seededRandom(8);
  for (let round = 0; round < 2_000; round++) {
    const bytes = Buffer.from(encodeProxyHeader(random.oneOf(headers)));
    bytes[12 + random.below(bytes.length - 12)] = random.below(256);
    try {
      parseProxyHeader(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedPacketError);
    }
  }
});
