/** Behind the command's code: id, flags, iterations. */
const headBytes = 10;
const parameterBytes = 2;

/**
 * A COM_STMT_EXECUTE of a client that has named the types of its parameters with an earlier one, and does not name them again, as if it had: of another server's statement nobody would know them.
 * Undefined where it names them, or is not understood.
 */
export function typesPutIn(payload: Buffer, start: number, end: number, types: Buffer): Buffer | undefined {
  const flag = start + headBytes + ((types.length / parameterBytes + 7) >> 3);
  if (flag >= end || payload[flag] !== 0) return undefined;
  return Buffer.concat([payload.subarray(start, flag), Buffer.from([1]), types, payload.subarray(flag + 1, end)]);
}
