import { headerBytes } from '@binnacle/mysql-wire/packet-header';

/**
 * Walks over the packets of one direction, in whatever pieces, and finds where each one's sequence id is: no more than that, so that a session on the
 * compressed protocol pays little for it.
 */
export class HeaderWalk {
  #payloadLeft = 0;
  /** Bytes of a header seen so far, and the payload length they tell. */
  #headerSeen = 0;
  #length = 0;
  /** Of the packet whose id was found last. */
  payloadBytes = 0;

  /** How many bytes of an unfinished header the piece ended with, 0 to 3. */
  get headerPending(): number {
    return this.#headerSeen;
  }

  /** The pending bytes of a header will be at the beginning of the next piece once more. */
  rewind(): void {
    this.#headerSeen = 0;
    this.#length = 0;
  }

  /**
   * The offset of the next sequence id at or behind `offset`; -1 if there is none before the end of the piece. To be called again with the offset
   * behind what it gave, until it gives -1.
   */
  next(piece: Buffer, offset: number): number {
    let at = offset + this.#payloadLeft;
    this.#payloadLeft = Math.max(0, at - piece.length);
    for (; at < piece.length; at++) {
      if (++this.#headerSeen < headerBytes) {
        this.#length |= piece[at]! << (8 * (this.#headerSeen - 1));
        continue;
      }
      this.#headerSeen = 0;
      this.#payloadLeft = this.payloadBytes = this.#length;
      this.#length = 0;
      return at;
    }
    return -1;
  }
}
