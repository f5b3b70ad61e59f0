import { BlockList, isIP } from 'node:net';

/** Addresses that share their first bits. */
export interface Network {
  readonly list: BlockList;
  /** That a client's address must agree with, of the 128 of IPv6: an IPv4 network counts as the narrow part of IPv6 that it is. */
  readonly bits: number;
}

/** Of `10.0.0.0/8`, `fd00::/8`, or an address alone. */
export function networkOf(text: string): Network {
  const [address = '', bits] = text.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const prefix = bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits);
  const list = new BlockList();
  list.addSubnet(address, prefix, family);
  return { list, bits: family === 'ipv4' ? prefix + 96 : prefix };
}

/** An IPv4 address in the form of IPv6, as sockets that listen on both give it, is the IPv4 address. */
export function contains({ list }: Network, address: string): boolean {
  const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  const version = isIP(plain);
  return version !== 0 && list.check(plain, version === 6 ? 'ipv6' : 'ipv4');
}
