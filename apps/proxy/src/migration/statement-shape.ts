const quote = 0x27;
const digit = 1;
const word = 2;
/** Begins or may begin what takes a lexer to find its end: other quotes, backslashes, comments of one line. */
const hard = 3;

const classes = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const character = String.fromCharCode(byte);
  if (/[0-9]/.test(character)) classes[byte] = digit;
  else if (/[a-z_$@.]/i.test(character) || byte >= 0x80) classes[byte] = word;
  else if ('"`\\#'.includes(character)) classes[byte] = hard;
}

const shapeBytesMax = 1_024;
const shape = Buffer.allocUnsafe(shapeBytesMax);

/**
 * A statement without the values of its strings and numbers, one character a byte: what has the same shape is the same to everyone who does not look at values. Undefined for statements that
 * take more than this to be read, in whatever `sql_mode`. One pass, for the way of every query.
 */
export function statementShape(payload: Buffer, start: number, end: number): string | undefined {
  let length = 0;
  let inWord = false;
  for (let at = start; at < end; at++) {
    if (length === shapeBytesMax) return undefined;
    const byte = payload[at]!;
    const kind = classes[byte]!;
    if (kind === digit && !inWord) {
      while (at + 1 < end && classes[payload[at + 1]!] === digit) at++;
      shape[length++] = 0x30;
      inWord = true;
      continue;
    }
    if (byte === quote) {
      at = stringEnd(payload, at, end);
      if (at === -1) return undefined;
    } else if (kind === hard || (byte === 0x2d && payload[at + 1] === 0x2d) || (byte === 0x2f && payload[at + 1] === 0x2a)) return undefined;
    inWord = kind === word || kind === digit;
    shape[length++] = byte;
  }
  return shape.toString('latin1', 0, length);
}

/** Of the closing quote; -1 if there is none, or a backslash before it, which may be an escape or a character. */
function stringEnd(payload: Buffer, opening: number, end: number): number {
  for (let at = opening + 1; at < end; at++) {
    const byte = payload[at]!;
    if (byte === quote) return at;
    if (byte === 0x5c) return -1;
  }
  return -1;
}
