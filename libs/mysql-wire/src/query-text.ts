import { Capability, has } from './capabilities.js';
import { PacketReader } from './packet-reader.js';

/** Bytes of a parameter's value by its type; -1: one byte of length precedes it; -2: it is a length-encoded string. */
function valueBytes(type: number): number {
  switch (type & 0xff) {
    case 0x06:
      return 0;
    case 0x01:
      return 1;
    case 0x02:
    case 0x0d:
      return 2;
    case 0x03:
    case 0x09:
    case 0x04:
      return 4;
    case 0x05:
    case 0x08:
      return 8;
    case 0x07:
    case 0x0a:
    case 0x0b:
    case 0x0c:
      return -1;
    default:
      return -2;
  }
}

const nullType = 0x06;

/**
 * Where the statement begins in the payload of COM_QUERY, the command code included: behind the query attributes, if both sides
 * agreed on them. From there to the end it is text in the character set of the session.
 * @throws MalformedPacketError
 */
export function queryTextStart(payload: Buffer, capabilities: number, start = 0, end = payload.length): number {
  if (!has(capabilities, Capability.queryAttributes)) return start + 1;
  const reader = new PacketReader(payload, 'query attributes', start + 1, end);
  const parameters = Number(reader.lenenc('number of parameters'));
  reader.lenenc('number of parameter sets');
  if (parameters === 0) return reader.offset;
  if (parameters > reader.left) reader.fail('fewer parameters');
  const nulls = reader.fixed(Math.floor((parameters + 7) / 8), 'NULL bitmap');
  reader.expect(1, 'the flag that types follow');
  const types: number[] = [];
  for (let i = 0; i < parameters; i++) {
    types.push(reader.u16('type'));
    reader.lenencBytes('name');
  }
  types.forEach((type, index) => {
    const isNull = (nulls[index >> 3]! & (1 << (index & 7))) !== 0;
    if (!isNull && (type & 0xff) !== nullType) passValue(reader, valueBytes(type));
  });
  return reader.offset;
}

function passValue(reader: PacketReader, bytes: number): void {
  if (bytes === -2) reader.lenencBytes('value');
  else reader.fixed(bytes === -1 ? reader.u8('length of the value') : bytes, 'value');
}
