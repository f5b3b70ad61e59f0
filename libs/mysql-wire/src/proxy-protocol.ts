import { isIPv4, isIPv6 } from 'node:net';
import { MalformedPacketError } from './malformed-packet-error.js';

/*
 * Version 2 of HAProxy's PROXY protocol: what a load balancer sends before a connection's own first byte, to say whose connection it is.
 * Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2.
 */

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const fixedBytes = 16;
const addressBytes = { none: 0, tcp4: 12, tcp6: 36, unix: 216 } as const;

export interface ProxyTlv {
  readonly type: number;
  readonly value: Buffer;
}

export interface ProxyHeader {
  /** False for the balancer's own connections, such as health checks: the addresses are then those of the socket. */
  readonly proxied: boolean;
  /** Undefined where the header does not say, or says something else than TCP over IP. */
  readonly source: { readonly address: string; readonly port: number } | undefined;
  readonly destination: { readonly address: string; readonly port: number } | undefined;
  /** In their order, checksums not verified: what is to be sent on is kept as it came. */
  readonly tlvs: readonly ProxyTlv[];
}

const fail = (offset: number, expected: string): never => {
  throw new MalformedPacketError('PROXY header', offset, expected);
};

/**
 * The header at the beginning of `bytes` and its length in bytes; undefined while it is incomplete, which the caller's deadline must end.
 * @param bytesMax what a header may have, TLVs included; certificates in TLVs need some thousand
 * @throws MalformedPacketError, as early as can be told: for bytes that are none, version 1, more than `bytesMax`
 */
export function parseProxyHeader(bytes: Buffer, bytesMax = 8_192): { header: ProxyHeader; length: number } | undefined {
  const seen = Math.min(bytes.length, signature.length);
  if (!bytes.subarray(0, seen).equals(signature.subarray(0, seen))) {
    fail(0, bytes.subarray(0, 6).equals(Buffer.from('PROXY ')) ? 'PROXY protocol version 2; version 1 is not spoken here' : 'a PROXY protocol header');
  }
  if (bytes.length < fixedBytes) return undefined;
  const [versionAndCommand, familyAndTransport] = [bytes[12]!, bytes[13]!];
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21) fail(12, 'version 2 and the command LOCAL or PROXY');
  const length = fixedBytes + bytes.readUInt16BE(14);
  if (length > bytesMax) fail(14, `at most ${bytesMax} bytes`);
  if (bytes.length < length) return undefined;
  const body = bytes.subarray(fixedBytes, length);
  const addresses = readAddresses(familyAndTransport, body);
  const proxied = versionAndCommand === 0x21;
  const header = { proxied, source: addresses.source, destination: addresses.destination, tlvs: readTlvs(body, addresses.bytes) };
  return { header, length };
}

function readAddresses(family: number, body: Buffer): { bytes: number } & Pick<ProxyHeader, 'source' | 'destination'> {
  const none = { source: undefined, destination: undefined };
  const name = family === 0x11 ? 'tcp4' : family === 0x21 ? 'tcp6' : family >> 4 === 3 ? 'unix' : 'none';
  // UDP has the same layout; whatever it says is no TCP connection.
  const bytes = family === 0x12 ? addressBytes.tcp4 : family === 0x22 ? addressBytes.tcp6 : addressBytes[name];
  if (body.length < bytes) fail(fixedBytes, `${bytes} bytes of addresses`);
  if (name !== 'tcp4' && name !== 'tcp6') return { bytes, ...none };
  const size = name === 'tcp4' ? 4 : 16;
  const address = (at: number): string => printAddress(body.subarray(at, at + size));
  return {
    bytes,
    source: { address: address(0), port: body.readUInt16BE(2 * size) },
    destination: { address: address(size), port: body.readUInt16BE(2 * size + 2) },
  };
}

function readTlvs(body: Buffer, start: number): ProxyTlv[] {
  const tlvs: ProxyTlv[] = [];
  for (let at = start; at < body.length; ) {
    if (body.length - at < 3) fail(fixedBytes + at, 'a TLV of type and length');
    const length = body.readUInt16BE(at + 1);
    if (body.length - at - 3 < length) fail(fixedBytes + at + 1, 'a TLV within the header');
    tlvs.push({ type: body[at]!, value: Buffer.from(body.subarray(at + 3, at + 3 + length)) });
    at += 3 + length;
  }
  return tlvs;
}

function printAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [parseInt(group, 16)];
    const bytes = Buffer.from(group.split('.').map(Number));
    return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
  });
}

function addressOf(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text)) throw new RangeError('an address of a PROXY header is an IPv4 or IPv6 address');
  const [head, tail] = text.replace(/%.*/, '').split('::');
  const [front, back] = [groupsOf(head!), groupsOf(tail ?? '')];
  const bytes = Buffer.alloc(16);
  front.forEach((group, index) => bytes.writeUInt16BE(group, 2 * index));
  back.forEach((group, index) => bytes.writeUInt16BE(group, 16 - 2 * (back.length - index)));
  return bytes;
}

/** Where one address is IPv6, the other is written as IPv6 too (`::ffff:` and the IPv4 address). */
export function encodeProxyHeader(header: ProxyHeader): Buffer {
  const { source, destination } = header;
  let family = 0;
  let body = Buffer.alloc(0);
  if (source !== undefined && destination !== undefined) {
    const wide = isIPv6(source.address) || isIPv6(destination.address);
    family = wide ? 0x21 : 0x11;
    const both = [source, destination].map(({ address }) => addressOf(wide && isIPv4(address) ? `::ffff:${address}` : address));
    const ports = Buffer.alloc(4);
    ports.writeUInt16BE(source.port, 0);
    ports.writeUInt16BE(destination.port, 2);
    body = Buffer.concat([...both, ports]);
  }
  const tlvs = header.tlvs.map(({ type, value }) => Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 0xff]), value]));
  body = Buffer.concat([body, ...tlvs]);
  const fixed = Buffer.from([header.proxied ? 0x21 : 0x20, family, 0, 0]);
  fixed.writeUInt16BE(body.length, 2);
  return Buffer.concat([signature, fixed, body]);
}
