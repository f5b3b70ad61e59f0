/** Up to this many digits a decimal number and its power of ten are exact as doubles, and so is their quotient when rounded once. */
const exactDigitsMax = 15;
const powersOfTen = Array.from({ length: exactDigitsMax + 1 }, (_, exponent) => 10 ** exponent);
const anyDecimal = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?$/;

/** Plus or minus. */
export const isSign = (byte: number | undefined): boolean => byte === 0x2b || byte === 0x2d;

/**
 * The decimal number in `bytes` from `start` to `end`, rounded to the nearest double; NaN for anything else, infinities and hexadecimal included.
 * What clients usually send is read without making a text of it.
 */
export function readDecimal(bytes: Buffer, start: number, end: number): number {
  let at = start;
  const sign = bytes[at];
  if (isSign(sign)) at += 1;
  let mantissa = 0;
  let digits = 0;
  let fraction = -1;
  for (; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte >= 0x30 && byte <= 0x39) {
      mantissa = mantissa * 10 + (byte - 0x30);
      digits += 1;
    } else if (byte === 0x2e && fraction < 0) fraction = digits;
    else return readUnusual(bytes, start, end);
  }
  if (digits === 0) return NaN;
  if (digits > exactDigitsMax) return readUnusual(bytes, start, end);
  const value = fraction < 0 ? mantissa : mantissa / (powersOfTen[digits - fraction] as number);
  return sign === 0x2d ? -value : value;
}

function readUnusual(bytes: Buffer, start: number, end: number): number {
  const text = bytes.toString('latin1', start, end);
  const value = anyDecimal.test(text) ? Number(text) : NaN;
  return Number.isFinite(value) ? value : NaN;
}
