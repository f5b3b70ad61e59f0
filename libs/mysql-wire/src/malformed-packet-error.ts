/**
 * Bytes that are not what the protocol allows at this place. The connection they came from cannot be trusted to be in step any more:
 * whoever catches this answers with an error packet where that is still possible and closes it.
 */
export class MalformedPacketError extends Error {
  readonly code = 'MALFORMED_PACKET';

  /**
   * @param what the packet or the part of it that was read: `handshake response`
   * @param offset of the first wrong byte, in bytes: from the packet's payload, or from the beginning of the stream for a scanner
   * @param expected what should have been there, in words; never contains bytes of the packet, which may be secret
   */
  constructor(
    readonly what: string,
    readonly offset: number,
    readonly expected: string,
  ) {
    super(`malformed ${what}: expected ${expected} at byte ${offset}`);
    this.name = 'MalformedPacketError';
  }
}
