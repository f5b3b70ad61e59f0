import type { Socket } from 'node:dgram';
import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { SenderAddresses } from './sender-addresses.js';

/** `int recvmmsg(int fd, struct mmsghdr *headers, unsigned int count, int flags, struct timespec *timeout)` */
type ReceiveMany = (fd: number, headers: Uint8Array, count: number, flags: number, timeout: null) => number;

/** The packet is only valid during the call. */
export type TakePacket = (bytes: Buffer, start: number, end: number, address: string) => void;

const doNotWait = 0x40;
/** Packets of one call. */
export const batchPackets = 64;
/** More than any packet has. Memory that no packet was written to is none of the process'. */
const slotBytes = 65_536;
/** Slots at multiples of a power of two would all be in the same lines of the processor's caches. */
const slotStride = slotBytes + 192;
/** `struct sockaddr_in6` has 28. */
const addressBytes = 32;
/** `struct mmsghdr` and `struct iovec`, where pointers have 64 bits. */
const [headerBytes, vectorBytes] = [64, 16];
const [nameAt, nameLengthAt, vectorAt, vectorCountAt, lengthAt] = [0, 8, 16, 24, 56];

/** Reads what waits at a UDP socket of Node.js' many packets at a time, which Node.js itself reads one by one, with a buffer and an event for each. */
export class PacketBatches {
  readonly #headers = Buffer.alloc(batchPackets * headerBytes);
  readonly #headerWords = words(this.#headers);
  readonly #vectors = Buffer.alloc(batchPackets * vectorBytes);
  readonly #names = Buffer.alloc(batchPackets * addressBytes);
  readonly #nameWords = words(this.#names);
  readonly #slots = Buffer.alloc(batchPackets * slotStride);
  readonly #addresses = new SenderAddresses();

  /** Undefined where it cannot be had: on other systems than Linux, without the native library, or if Node.js hides its descriptors better. */
  static of(socket: Socket): PacketBatches | undefined {
    const fd = descriptorOf(socket);
    const system = fd === undefined ? undefined : loadSystem();
    return fd === undefined || system === undefined ? undefined : new PacketBatches(fd, system.receiveMany, system.addressOf);
  }

  private constructor(
    private readonly fd: number,
    private readonly receiveMany: ReceiveMany,
    addressOf: (buffer: Buffer) => bigint,
  ) {
    const [vectors, names, slots] = [addressOf(this.#vectors), addressOf(this.#names), addressOf(this.#slots)];
    for (let at = 0; at < batchPackets; at++) {
      this.#headers.writeBigUInt64LE(names + BigInt(at * addressBytes), at * headerBytes + nameAt);
      // The kernel writes the length it used here, which is the same for all of one socket.
      this.#headers.writeUInt32LE(addressBytes, at * headerBytes + nameLengthAt);
      this.#headers.writeBigUInt64LE(vectors + BigInt(at * vectorBytes), at * headerBytes + vectorAt);
      this.#headers.writeBigUInt64LE(1n, at * headerBytes + vectorCountAt);
      this.#vectors.writeBigUInt64LE(slots + BigInt(at * slotStride), at * vectorBytes);
      this.#vectors.writeBigUInt64LE(BigInt(slotBytes), at * vectorBytes + 8);
    }
  }

  /** Packets taken, `batchPackets` at the most; 0 if none waits, or upon an error, which Node.js will meet, too. Only while the socket is open. */
  take(each: TakePacket): number {
    const count = this.receiveMany(this.fd, this.#headers, batchPackets, doNotWait, null);
    for (let at = 0; at < count; at++) {
      const start = at * slotStride;
      const length = this.#headerWords[(at * headerBytes + lengthAt) / 4] as number;
      each(this.#slots, start, start + length, this.#addresses.text(this.#nameWords, (at * addressBytes) / 4));
    }
    return Math.max(count, 0);
  }
}

function words({ buffer, byteOffset, byteLength }: Buffer): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / Uint32Array.BYTES_PER_ELEMENT);
}

/** Node.js shows it to nobody: this is where node:dgram keeps it. */
function descriptorOf(socket: Socket): number | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  const state = symbol === undefined ? undefined : (socket as unknown as Record<symbol, { handle?: { fd?: unknown } | null } | undefined>)[symbol];
  const fd = state?.handle?.fd;
  return Number.isInteger(fd) && (fd as number) >= 0 ? (fd as number) : undefined;
}

function loadSystem(): { receiveMany: ReceiveMany; addressOf: (buffer: Buffer) => bigint } | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch) || endianness() !== 'LE') return undefined;
  try {
    // Loaded only where it is needed: the native binding costs 2 MB of memory and some start-up time.
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const receiveMany = koffi.load(null).func('int recvmmsg(int fd, void *headers, unsigned int count, int flags, void *timeout)') as ReceiveMany;
    return { receiveMany, addressOf: (buffer) => koffi.address(buffer) };
  } catch {
    return undefined;
  }
}
