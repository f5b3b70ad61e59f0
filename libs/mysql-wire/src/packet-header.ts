/** Every packet begins with u24 length (little-endian) and u8 sequence id. */
export const headerBytes = 4;
/** A packet of exactly this length is continued by the next one. */
export const payloadBytesMax = 0xff_ff_ff;

/** Writes a header for `length` bytes of payload (at most `payloadBytesMax`) and gives the offset behind it. */
export function writeHeader(target: Uint8Array, offset: number, length: number, sequenceId: number): number {
  target[offset] = length & 0xff;
  target[offset + 1] = (length >>> 8) & 0xff;
  target[offset + 2] = length >>> 16;
  target[offset + 3] = sequenceId & 0xff;
  return offset + headerBytes;
}

/**
 * A payload as it goes over the wire: one packet, or several where it has 16 MB - 1 or more. The payload is copied, so
 * this is for what a proxy says itself, not for what it forwards. `sequenceId` is the first packet's; ids wrap at 256.
 */
export function framePayload(payload: Uint8Array, sequenceId: number): Buffer {
  const frames = Math.floor(payload.length / payloadBytesMax) + 1;
  const framed = Buffer.allocUnsafe(payload.length + frames * headerBytes);
  let target = 0;
  for (let frame = 0; frame < frames; frame++) {
    const begin = frame * payloadBytesMax;
    const length = Math.min(payloadBytesMax, payload.length - begin);
    target = writeHeader(framed, target, length, sequenceId + frame);
    framed.set(payload.subarray(begin, begin + length), target);
    target += length;
  }
  return framed;
}
