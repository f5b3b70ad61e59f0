import { PacketReader } from '@binnacle/mysql-wire/packet-reader';

const headBytes = 10;
const countAvailable = 8;
const none = Buffer.alloc(0);

/**
 * The types of the first `count` parameters of a COM_STMT_EXECUTE between two sides that agreed on query attributes: each type is followed by a name there,
 * and attributes come behind the parameters. Empty: the command names none. Undefined: it cannot be read.
 */
export function queryAttributeTypesPassed(payload: Buffer, start: number, end: number, count: number): Buffer | undefined {
  try {
    const reader = new PacketReader(payload, 'COM_STMT_EXECUTE', start + headBytes, end);
    const sent = (payload[start + 5]! & countAvailable) === 0 ? count : Number(reader.lenenc('number of parameters'));
    if (sent < count || sent > 65_535) return undefined;
    reader.fixed((sent + 7) >> 3, 'NULL bitmap');
    if (reader.u8('the flag that types follow') !== 1) return none;
    const types = Buffer.alloc(2 * count);
    for (let index = 0; index < count; index++) {
      types.writeUInt16LE(reader.u16('type'), 2 * index);
      reader.lenencBytes('name');
    }
    return types;
  } catch {
    return undefined;
  }
}
