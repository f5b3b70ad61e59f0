import { expect, test } from '@jest/globals';
import { decodeAuthMoreData, decodeAuthSwitch, encodeAuthMoreData, encodeAuthSwitch } from './auth-packets.js';
import { Capability } from './capabilities.js';
import {
  decodeChangeUser, decodeHandshake, decodeHandshakeResponse, decodeSslRequest, encodeChangeUser, encodeHandshake, encodeHandshakeResponse,
  encodeSslRequest, isSslRequest, type HandshakeResponse,
} from './handshake.js';
import { MalformedPacketError } from './malformed-packet-error.js';

const base = Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.connectWithDatabase | Capability.connectAttributes;

const response: HandshakeResponse = {
  capabilities: base,
  mariadbCapabilities: 0x14,
  packetBytesMax: 0x1_00_00_00,
  collation: 45,
  user: 'jürgen',
  authResponse: Buffer.alloc(20, 7),
  database: 'shop',
  authPlugin: 'mysql_native_password',
  attributes: [['_client_name', 'x'], ['program_name', 'y'.repeat(300)]],
  zstdLevel: undefined,
};

test('a handshake comes out as it went in, MySQL\'s and MariaDB\'s', () => {
  for (const mysql of [0, Capability.mysql]) {
    const handshake = {
      serverVersion: '8.4.0', connectionId: 4_000_000_000, scramble: Buffer.from('abcdefghijklmnopqrst'), collation: 45, statusFlags: 2,
      authPlugin: 'caching_sha2_password', capabilities: (base | mysql | Capability.rememberOptions) >>> 0, mariadbCapabilities: mysql ? 0 : 0x1d,
    };
    expect(decodeHandshake(encodeHandshake(handshake))).toEqual(handshake);
  }
});

test('a response comes out as it went in, whatever its capabilities', () => {
  const cases: HandshakeResponse[] = [
    response,
    { ...response, capabilities: (base | Capability.pluginAuthLenenc) >>> 0, authResponse: Buffer.alloc(700, 9) },
    { ...response, capabilities: base | Capability.zstdCompression, zstdLevel: 7 },
    { ...response, capabilities: base | Capability.mysql, mariadbCapabilities: 0 },
    { ...response, capabilities: Capability.protocol41, database: undefined, authPlugin: undefined, attributes: undefined },
  ];
  for (const one of cases) expect(decodeHandshakeResponse(encodeHandshakeResponse(one))).toEqual(one);
});

test('what cannot be said without LENENC_CLIENT_DATA is refused', () => {
  expect(() => encodeHandshakeResponse({ ...response, authResponse: Buffer.alloc(256) })).toThrow(RangeError);
});

test('a TLS request is told from a response', () => {
  const request = { capabilities: (base | Capability.ssl) >>> 0, mariadbCapabilities: 0, packetBytesMax: 1_000, collation: 8 };
  expect(isSslRequest(encodeSslRequest(request))).toBe(true);
  expect(decodeSslRequest(encodeSslRequest(request))).toEqual(request);
  expect(isSslRequest(encodeHandshakeResponse(response))).toBe(false);
});

test('every cut packet is malformed or understood, never something else', () => {
  const packets: [(payload: Buffer) => unknown, Buffer][] = [
    [decodeHandshakeResponse, encodeHandshakeResponse(response)],
    [(payload) => decodeChangeUser(payload, base), encodeChangeUser({ ...response, database: 'shop' }, base)],
  ];
  for (const [decode, packet] of packets) {
    for (let length = 0; length < packet.length; length++) {
      try {
        decode(packet.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedPacketError);
      }
    }
  }
});

test('clients before 4.1 and names that are not UTF-8 are refused', () => {
  expect(() => decodeHandshakeResponse(encodeHandshakeResponse({ ...response, capabilities: 0 }))).toThrow('4.1 or later');
  const latin1 = encodeHandshakeResponse({ ...response, user: 'j_rgen' });
  latin1[33] = 0xfc;
  expect(() => decodeHandshakeResponse(latin1)).toThrow('user in UTF-8');
});

test('a change of user and the packets of plugins come out as they went in', () => {
  const change = { user: 'a', authResponse: Buffer.alloc(20, 1), database: '', collation: 300, authPlugin: 'p', attributes: [['k', 'v']] as [string, string][] };
  expect(decodeChangeUser(encodeChangeUser(change, base), base)).toEqual(change);
  const request = { plugin: 'caching_sha2_password', data: Buffer.from('abcdefghijklmnopqrst') };
  expect(decodeAuthSwitch(encodeAuthSwitch(request))).toEqual(request);
  expect(decodeAuthMoreData(encodeAuthMoreData(Buffer.from('xyz')))).toEqual(Buffer.from('xyz'));
  expect(() => decodeAuthSwitch(Buffer.from([0xfe]))).toThrow(MalformedPacketError);
});
