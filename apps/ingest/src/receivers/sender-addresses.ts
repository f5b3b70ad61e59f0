import { SocketAddress } from 'node:net';
import { networkInterfaces } from 'node:os';

/** AF_INET and AF_INET6 of Linux. */
const [familyV4, familyV6] = [2, 10];
/** Texts kept; then it begins anew. */
const textsMax = 65_536;

/** The texts of senders' addresses as node:dgram writes them, from what the kernel writes (`sockaddr_in`, `sockaddr_in6`) on a machine of little endian. */
export class SenderAddresses {
  readonly #ofV4 = new Map<number, string>();
  readonly #ofV6 = new Map<string, string>();
  /** Packets mostly come from whom the last one came. */
  #lastV4 = -1;
  #lastTextV4 = '';

  /** Of the address at `at`, in words of four bytes. */
  text(words: Uint32Array, at: number): string {
    const family = (words[at] as number) & 0xffff;
    if (family === familyV4) return this.#textV4(words[at + 1] as number);
    return family === familyV6 ? this.#textV6(words, at) : '';
  }

  #textV4(address: number): string {
    if (address === this.#lastV4) return this.#lastTextV4;
    const text = kept(this.#ofV4, address, () => `${address & 0xff}.${(address >>> 8) & 0xff}.${(address >>> 16) & 0xff}.${address >>> 24}`);
    this.#lastV4 = address;
    this.#lastTextV4 = text;
    return text;
  }

  #textV6(words: Uint32Array, at: number): string {
    // Behind the family, the port and the flow: the address, and the number of the interface where it is of one link.
    return kept(this.#ofV6, `${words[at + 2]} ${words[at + 3]} ${words[at + 4]} ${words[at + 5]} ${words[at + 6]}`, () => textV6(words, at));
  }
}

function kept<Key>(texts: Map<Key, string>, key: Key, make: () => string): string {
  const known = texts.get(key);
  if (known !== undefined) return known;
  if (texts.size === textsMax) texts.clear();
  const text = make();
  texts.set(key, text);
  return text;
}

function textV6(words: Uint32Array, at: number): string {
  const bytes = Buffer.from(words.buffer, words.byteOffset + (at + 2) * Uint32Array.BYTES_PER_ELEMENT, 16);
  const { address } = new SocketAddress({ family: 'ipv6', address: bytes.toString('hex').replace(/(.{4})(?!$)/g, '$1:') });
  const isOfLink = bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80;
  return isOfLink ? `${address}%${interfaceName(words[at + 6] as number)}` : address;
}

function interfaceName(scope: number): string {
  const named = Object.entries(networkInterfaces()).find(([, addresses]) => addresses?.some((each) => each.family === 'IPv6' && each.scopeid === scope));
  return named?.[0] ?? String(scope);
}
