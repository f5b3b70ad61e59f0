/** Every packet begins with u24 length (little-endian) and u8 sequence id. */
export const headerBytes = 4;
/** A packet of exactly this length is continued by the next one. */
export const payloadBytesMax = 0xff_ff_ff;
