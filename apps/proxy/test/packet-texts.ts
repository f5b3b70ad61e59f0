import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { column, eof, frame, ok } from '@binnacle/testing/peer-packets';

export const command = (code: number, ...rest: (Buffer | string)[]): Buffer => frame(Buffer.concat([Buffer.from([code]), ...rest.map((part) => Buffer.from(part as string))]), 0);
export const query = (text: string): Buffer => command(Command.query, text);
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
export const packets = (payloads: readonly Buffer[], first = 1): Buffer => Buffer.concat(payloads.map((payload, index) => framePayload(payload, first + index)));
export const rowsEnd = ok(2, { header: 0xfe });
export const row = Buffer.from('\x04some');
export const result = [Buffer.from([1]), column('a'), row, rowsEnd];
export const classicResult = [Buffer.from([1]), column('a'), eof(2), row, eof(2)];
/** The OK of COM_STMT_PREPARE. */
export const prepared = (id: number, columns = 0, parameters = 0): Buffer => Buffer.concat([Buffer.from([0]), u32(id), Buffer.from([columns, 0, parameters, 0, 0, 0, 0])]);
