import { SqlLexer, Token, type LexerMode } from '@binnacle/mysql-wire/lexer';
import { PacketReader } from '@binnacle/mysql-wire/packet-reader';

/** Behind the command code: id, flags, iterations. */
const headBytes = 9;
const unsignedFlag = 0x80;
const nullType = 0x06;

/**
 * A prepared statement as it would be sent in SQL, with the values of an execution in it. Undefined where the execution does not say the types of its values, or one
 * of them cannot be written without doubt about how the server reads it.
 *
 * @param execution the payload of COM_STMT_EXECUTE behind the command code
 */
export function statementWithValues(text: string, execution: Buffer, mode: LexerMode): string | undefined {
  const places = placeholders(text, mode);
  if (places === undefined) return undefined;
  if (places.length === 0) return text;
  const values = valuesOf(execution, places.length);
  if (values === undefined) return undefined;
  let written = '';
  let from = 0;
  for (const [index, place] of places.entries()) {
    written += text.slice(from, place) + values[index]!;
    from = place + 1;
  }
  return written + text.slice(from);
}

function placeholders(text: string, mode: LexerMode): number[] | undefined {
  const lexer = new SqlLexer(text, mode);
  const places: number[] = [];
  for (let token = lexer.next(); token !== Token.end; token = lexer.next()) {
    if (token === Token.unterminated) return undefined;
    if (token === Token.placeholder) places.push(lexer.start);
  }
  return places;
}

function valuesOf(execution: Buffer, count: number): string[] | undefined {
  try {
    const reader = new PacketReader(execution, 'parameters', headBytes, execution.length);
    const nulls = reader.fixed((count + 7) >> 3, 'NULL bitmap');
    if (reader.u8('the flag that types follow') !== 1) return undefined;
    const types = Array.from({ length: count }, () => reader.u16('type'));
    const values = types.map((type, index) => ((nulls[index >> 3]! >> (index & 7)) & 1 ? 'NULL' : valueOf(reader, type & 0xff, (type >> 8 & unsignedFlag) !== 0)));
    return values.every((value) => value !== undefined) ? (values as string[]) : undefined;
  } catch {
    return undefined;
  }
}

function valueOf(reader: PacketReader, type: number, unsigned: boolean): string | undefined {
  switch (type) {
    case nullType:
      return 'NULL';
    case 0x01: {
      const bytes = reader.fixed(1, 'value');
      return String(unsigned ? bytes.readUInt8() : bytes.readInt8());
    }
    case 0x02:
    case 0x0d: {
      const bytes = reader.fixed(2, 'value');
      return String(unsigned ? bytes.readUInt16LE() : bytes.readInt16LE());
    }
    case 0x03:
    case 0x09: {
      const bytes = reader.fixed(4, 'value');
      return String(unsigned ? bytes.readUInt32LE() : bytes.readInt32LE());
    }
    case 0x08: {
      const bytes = reader.fixed(8, 'value');
      return String(unsigned ? bytes.readBigUInt64LE() : bytes.readBigInt64LE());
    }
    case 0x04:
      return numberText(reader.fixed(4, 'value').readFloatLE());
    case 0x05:
      return numberText(reader.fixed(8, 'value').readDoubleLE());
    case 0x07:
    case 0x0a:
    case 0x0c:
      return timeText(reader.fixed(reader.u8('length of the value'), 'value'));
    case 0x0b:
      return undefined;
    default:
      return stringText(reader.lenencBytes('value'));
  }
}

function numberText(value: number): string | undefined {
  return Number.isFinite(value) ? value.toExponential() : undefined;
}

function timeText(bytes: Buffer): string | undefined {
  if (bytes.length < 4) return undefined;
  const pad = (value: number, digits = 2): string => String(value).padStart(digits, '0');
  const date = `${pad(bytes.readUInt16LE(0), 4)}-${pad(bytes[2]!)}-${pad(bytes[3]!)}`;
  if (bytes.length < 7) return `'${date}'`;
  const micros = bytes.length < 11 ? '' : `.${pad(bytes.readUInt32LE(7), 6)}`;
  return `'${date} ${pad(bytes[4]!)}:${pad(bytes[5]!)}:${pad(bytes[6]!)}${micros}'`;
}

/** Whether a backslash escapes is the server's affair. */
function stringText(bytes: Buffer): string | undefined {
  const text = bytes.toString();
  return /[\\\0\u{fffd}]/u.test(text) ? undefined : `'${text.replaceAll("'", "''")}'`;
}
