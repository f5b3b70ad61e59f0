import { Command } from '@binnacle/mysql-wire/command';
import { randomChunks, seededRandom, type SeededRandom } from '@binnacle/testing/seeded-random';
import { expect, test } from '@jest/globals';
import { nextTimeUs, type TrafficRecord } from './record.js';
import { RecordDecoder, type RecordDecoderOptions, TrafficFileError } from './record-decoder.js';
import { RecordEncoder } from './record-encoder.js';

const at = (time: string): number => Date.parse(time) * 1_000;
const execute = Buffer.from('0a0000000001000000000103002a000000', 'hex');

/** As TiProxy writes them. */
const examples: [string, TrafficRecord][] = [
  ['# Time: 2026-11-21T09:05:07.47Z\n# Conn_ID: 7\n# Payload_len: 8\nselect 1\n', { timeUs: at('2026-11-21T09:05:07.470Z'), connectionId: 7, command: Command.query, payload: Buffer.from('select 1') }],
  ['# Time: 2026-11-21T09:05:07.4Z\n# Conn_ID: 7\n# Cmd_type: InitDB\n# Payload_len: 4\nshop\n', { timeUs: at('2026-11-21T09:05:07.400Z'), connectionId: 7, command: Command.initDb, payload: Buffer.from('shop') }],
  [
    '# Time: 2026-11-21T09:05:07Z\n# Conn_ID: 7\n# Cmd_type: StmtPrepare\n# Captured_ps_id: 10\n# Payload_len: 8\nselect ?\n',
    { timeUs: at('2026-11-21T09:05:07Z'), connectionId: 7, command: Command.stmtPrepare, payload: Buffer.from('select ?'), capturedStatementId: 10 },
  ],
  [
    `# Time: 2026-11-21T09:05:07.47Z\n# Conn_ID: 7\n# Cmd_type: StmtExecute\n# Captured_ps_id: 10\n# Prepared_stmt: "select ?"\n# Payload_len: 17\n${execute.toString('latin1')}\n`,
    {
      timeUs: at('2026-11-21T09:05:07.470Z'), connectionId: 7, command: Command.stmtExecute, payload: execute, capturedStatementId: 10,
      preparedText: Buffer.from('select ?'),
    },
  ],
  ['# Time: 2026-11-21T09:05:07.000001Z\n# Conn_ID: 4294967295\n# Cmd_type: Quit\n# Payload_len: 0\n\n', { timeUs: at('2026-11-21T09:05:07Z') + 1, connectionId: 2 ** 32 - 1, command: Command.quit, payload: Buffer.alloc(0) }],
];

function encoded(records: readonly TrafficRecord[]): Buffer {
  const encoder = new RecordEncoder();
  const target = Buffer.alloc(records.reduce((sum, record) => sum + encoder.recordBytesMax(record), 0));
  let end = 0;
  for (const record of records) {
    const next = encoder.record(target, end, record);
    expect(next).toBeGreaterThan(end);
    expect(next - end).toBeLessThanOrEqual(encoder.recordBytesMax(record));
    end = next;
  }
  return target.subarray(0, end);
}

function decoded(chunks: readonly Buffer[], options: Partial<RecordDecoderOptions> = {}): { records: TrafficRecord[]; cutBytes: number } {
  const decoder = new RecordDecoder({ file: 'traffic-1.log', ...options });
  const records: TrafficRecord[] = [];
  for (const chunk of chunks) {
    decoder.write(chunk);
    for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
      const { source, ...record } = next;
      expect(source).toBe(0);
      records.push({ ...record, payload: Buffer.from(record.payload) });
    }
  }
  return { records, cutBytes: decoder.end() };
}

const readText = (text: string, options: Partial<RecordDecoderOptions> = {}): TrafficRecord[] => decoded([Buffer.from(text, 'latin1')], options).records;
const record = (lines: string, payload = 'x'): string => `${lines}\n# Payload_len: ${payload.length}\n${payload}\n`;
const basics = '# Time: 2026-11-21T09:05:07Z\n# Conn_ID: 7';

function randomRecord(random: SeededRandom, timeUs: number): TrafficRecord {
  const some = <T>(make: () => T): T | undefined => (random.below(3) === 0 ? make() : undefined);
  const preparedText = some(() => random.bytes(1 + random.below(60)));
  const user = some(() => random.oneOf(['app', 'Zoë "x"\n', '李', 'a\\b']));
  const database = some(() => random.oneOf(['', 'shop', 'ü\u{1f600}']));
  const isFailed = random.below(4) === 0;
  const id = random.below(3) === 0 ? 1 + random.below(2 ** 32 - 1) : 0;
  return {
    timeUs,
    connectionId: 1 + random.below(random.oneOf([9, 10_000, 2 ** 32])),
    command: random.oneOf([3, 3, 3, 0x16, 0x17, 0xfa, random.below(256)]),
    payload: random.oneOf([() => random.bytes(random.below(80)), () => Buffer.from('\n# Time: 2026'), () => Buffer.alloc(0)])(),
    ...(id ? { capturedStatementId: id } : {}),
    ...(preparedText ? { preparedText } : {}),
    ...(isFailed ? { success: false } : {}),
    ...(user !== undefined ? { user } : {}),
    ...(database !== undefined ? { database, collation: random.below(400), capabilities: random.below(2 ** 32) } : {}),
  };
}

test.each(examples)('is the same byte for byte as TiProxy: %j', (bytes, each) => {
  expect(encoded([each]).toString('latin1')).toBe(bytes);
  expect(decoded([Buffer.from(bytes, 'latin1')])).toEqual({ records: [each], cutBytes: 0 });
});

test('what is encoded is read again, in whatever pieces it comes', () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = seededRandom(seed);
    let timeUs = at('1999-12-31T23:59:59Z') + random.below(2 ** 31) * 1_000;
    const records = Array.from({ length: 20 }, () => randomRecord(random, (timeUs += random.oneOf([1, 10, 1_000, 999_999, 86_400_000_000]))));
    const bytes = encoded(records);
    const pieces = random.oneOf([[bytes], randomChunks(bytes, random, 1), randomChunks(bytes, random, 7), randomChunks(bytes, random, 300)]);
    expect({ seed, ...decoded(pieces) }).toEqual({ seed, records, cutBytes: 0 });
  }
});

test('a record that may not fit is not begun', () => {
  const [[, each]] = examples as [[string, TrafficRecord]];
  const encoder = new RecordEncoder();
  const target = Buffer.alloc(encoder.recordBytesMax(each));
  expect(encoder.record(target, 1, each)).toBe(-1);
  expect(target.every((byte) => byte === 0)).toBe(true);
});

test('a payload may be appended in pieces', () => {
  const [[text, { payload, ...header }]] = examples as [[string, TrafficRecord]];
  const target = Buffer.alloc(300);
  const from = new RecordEncoder().header(target, 5, header, payload.length);
  expect(target.toString('latin1', 5, from)).toBe(text.slice(0, from - 5));
  expect(text.slice(from - 5)).toBe('select 1\n');
});

test('files of every release are read: without ids, with unknown lines, in any order, with carriage returns', () => {
  const text = [
    record('# Time: 2024-10-26T17:05:07.470123456+08:00\n# Conn_ID: 3'),
    record('# Conn_ID: 3\n# Query_time: 1: 2\n# Cmd_type: (DEPRECATED)Shutdown\n# Success: true\n# Time: 2024-10-26T09:05:08,5Z'),
    '# Time: 2024-10-26T02:05:09-07:30\r\n# Conn_ID: 3\r\n# Cmd_type: Not a command: fa\r\n# Payload_len: 1\r\nx\r\n',
    record(`${basics}\n# Prepared_stmt: "a\\xc3\\xa9 é\\n\\u00e9\\U0001F600\\101\\"\\\\"`),
  ].join('');
  const [first, second, third, fourth] = decoded([Buffer.from(text)]).records;
  expect(first).toMatchObject({ timeUs: at('2024-10-26T09:05:07.470Z') + 123, command: Command.query, connectionId: 3 });
  expect(second).toMatchObject({ timeUs: at('2024-10-26T09:05:08.5Z'), command: 8 });
  expect(third).toMatchObject({ timeUs: at('2024-10-26T09:35:09Z'), command: 0xfa });
  expect(fourth?.preparedText?.toString()).toBe('aé é\né\u{1f600}A"\\');
});

test('a tail that was cut off is no record and no error', () => {
  const bytes = Buffer.from(examples.map(([text]) => text).join(''), 'latin1');
  const ends = examples.map((_, index) => examples.slice(0, index + 1).reduce((sum, [text]) => sum + text.length, 0));
  for (let length = 0; length <= bytes.length; length++) {
    const whole = ends.filter((end) => end <= length);
    const { records, cutBytes } = decoded([bytes.subarray(0, length)]);
    expect([length, records.length, cutBytes]).toEqual([length, whole.length, length - (whole.at(-1) ?? 0)]);
  }
});

test.each([
  [record('# Conn_ID: 7'), 'no Time'],
  [record('# Time: 2026-11-21T09:05:07Z'), 'no Conn_ID'],
  [record('# Time: 2026-11-21T09:05:07Z\n# Conn_ID: 0'), 'no Conn_ID'],
  [record('# Time: 2026-11-21 09:05:07Z'), 'not a time: "2026-11-21 09:05:07Z"'],
  [record('# Time: 2026-11-21T09:05:07'), 'not a time: "2026-11-21T09:05:07"'],
  [record('# Time: 2026-02-30T09:05:07Z'), 'not a time: "2026-02-30T09:05:07Z"'],
  [record('# Time: 2026-11-21T09:05:07.Z'), 'not a time: "2026-11-21T09:05:07.Z"'],
  [record('# Time: 2026-11-21T09:05:07Zx'), 'not a time: "2026-11-21T09:05:07Zx"'],
  [record(`${basics}\n${basics}`), 'a second Time'],
  [record(`${basics}\n# Conn_ID: 7`), 'a second Conn_ID'],
  [record(`${basics}\n# Cmd_type: Ping\n# Cmd_type: Ping`), 'a second Cmd_type'],
  [record(`${basics}\n# Cmd_type: ping`), 'not a command: "ping"'],
  [record(`${basics}\n# Success: maybe`), 'Success is neither true nor false: "maybe"'],
  [record(`${basics}\n# Prepared_stmt: select`), 'Prepared_stmt is not a quoted text: "select"'],
  [record(`${basics}\n# Prepared_stmt: "\\u12"`), 'Prepared_stmt is not a quoted text: "\\"\\\\u12\\""'],
  [record(`${basics}\n# Captured_ps_id: 4294967296`), 'Captured_ps_id is too large: 4294967296'],
  [record('# Time: 2026-11-21T09:05:07Z\n# Conn_ID: 18446744073709551615'), 'Conn_ID is too large: "18446744073709551615"'],
  [`${basics}\n# Payload_len: -1\n`, 'Payload_len is not a whole number: "-1"'],
  [`${basics}\n# Payload_len: 99999999999\n`, 'a payload of 99999999999 bytes; at most 67108864 are read'],
  [`${basics}\n# Payload_len: 1\nxy\n`, 'no end of line behind the 1 bytes of the payload'],
  [`${basics}\n# Success:\n`, 'a line "# KEY: VALUE" was expected, found "# Success:"'],
  [`${basics}\n# Anything: \n`, 'Anything has no value'],
  ['select 1\n', 'a line "# KEY: VALUE" was expected, found "select 1"'],
  [`\n${basics}`, 'a line "# KEY: VALUE" was expected, found ""'],
])('what is no record is refused, with its place: %j', (text, reason) => {
  const [before] = examples[0] as [string, TrafficRecord];
  expect(() => readText(before + text)).toThrow(new TrafficFileError('traffic-1.log', before.length, reason));
});

test('lines that never end are refused once they are too long', () => {
  const decoder = new RecordDecoder({ file: 'f', headerBytesMax: 1_000 });
  decoder.write(Buffer.from(`${basics}\n# Prepared_stmt: "${'x'.repeat(500)}`));
  expect(decoder.next()).toBeUndefined();
  decoder.write(Buffer.alloc(500, 'x'));
  expect(() => decoder.next()).toThrow('f, byte 0: the lines before the payload have more than 1000 bytes');
});

test('damage is left out up to the next record, where that is asked for', () => {
  const [good] = examples[0] as [string, TrafficRecord];
  const text = [good, 'rubbish\n', good, `${basics}\n# Cmd_type: What\n`, good, `${basics}\n# Payload_len: 2\nxyz\n`, good].join('');
  for (const size of [1, 2, 9, text.length]) {
    const damage: number[] = [];
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, index) => Buffer.from(text.slice(index * size, (index + 1) * size)));
    expect(decoded(pieces, { onDamage: ({ byte }) => damage.push(byte) }).records).toHaveLength(4);
    expect(damage).toEqual([good.length, 2 * good.length + 8, text.length - good.length - (basics.length + 22)]);
  }
});

test('mutated files give records or errors of theirs, and end', () => {
  const bytes = Buffer.from(examples.map(([text]) => text).join('').repeat(3), 'latin1');
  for (let seed = 1; seed <= 500; seed++) {
    const random = seededRandom(seed);
    const mutated = Buffer.from(bytes);
    for (let count = 1 + random.below(4); count > 0; count--) mutated[random.below(mutated.length)] = random.oneOf([0, 10, 13, 32, 34, 35, 48, 57, random.below(256)]);
    const pieces = randomChunks(mutated, random, random.oneOf([1, 40, 5_000]));
    let error: unknown;
    try {
      decoded(pieces);
    } catch (thrown) {
      error = thrown;
    }
    expect(error === undefined || error instanceof TrafficFileError).toBe(true);
    expect(decoded(pieces, { onDamage: () => {} }).records.length).toBeLessThanOrEqual(15);
  }
});

test('times of a connection strictly increase, whatever the clock does', () => {
  expect([nextTimeUs(5, 9), nextTimeUs(9, 9), nextTimeUs(10, 2)]).toEqual([9, 10, 11]);
});
