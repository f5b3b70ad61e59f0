import { expect, test } from '@jest/globals';
import { randomChunks, seededRandom, type SeededRandom } from '@binnacle/testing/seeded-random';
import { decodeAuthMoreData, decodeAuthSwitch } from './auth-packets.js';
import { Capability } from './capabilities.js';
import { Command } from './command.js';
import { CommandEvent, CommandTracker } from './command-tracker.js';
import { decodeErr, encodeErr } from './err-packet.js';
import { Errors } from './error-codes.js';
import { decodeChangeUser, decodeHandshake, decodeHandshakeResponse, encodeChangeUser, encodeHandshake, encodeHandshakeResponse } from './handshake.js';
import { MalformedPacketError } from './malformed-packet-error.js';
import { decodeOk, encodeEof, encodeOk, statusAndWarnings } from './ok-packet.js';
import { framePayload } from './packet-header.js';
import { PacketWriter } from './packet-writer.js';
import { queryTextStart } from './query-text.js';
import { ResponseEvent, ResponseTracker } from './response-tracker.js';
import { ResponseTranslator } from './response-translator.js';

/*
 * Bytes that nobody should send: valid packets with some bytes changed, cut or repeated, in random pieces. Whatever comes must be taken
 * or refused by MalformedPacketError, with no memory to speak of.
 */

const all = Capability.protocol41 | Capability.secureConnection | Capability.pluginAuth | Capability.connectAttributes | Capability.connectWithDatabase
  | Capability.sessionTrack | Capability.queryAttributes;
const sides = [
  { capabilities: Capability.protocol41, mariadbCapabilities: 0 },
  { capabilities: Capability.protocol41 | Capability.deprecateEof | Capability.sessionTrack, mariadbCapabilities: 0 },
  { capabilities: Capability.protocol41 | Capability.deprecateEof, mariadbCapabilities: 0x10 },
];

const changes = Buffer.from([1, 5, 4, ...Buffer.from('shop'), 0, 6, 1, 97, 3, 98, 99, 100, 2, 1, 0x31, 5, 9, 8, ...Buffer.from('T_______')]);
const login = { packetBytesMax: 1 << 24, collation: 45, user: 'root', authResponse: Buffer.alloc(20, 1), database: 'test', authPlugin: 'mysql_native_password', attributes: [['a', 'b']] as [string, string][], zstdLevel: undefined };
const packets: [(payload: Buffer) => unknown, Buffer][] = [
  [decodeHandshake, encodeHandshake({ serverVersion: '5.5.5-10.11', connectionId: 1, scramble: Buffer.alloc(20, 'a'), collation: 45, statusFlags: 2, authPlugin: 'mysql_native_password', capabilities: all, mariadbCapabilities: 3 })],
  [decodeHandshakeResponse, encodeHandshakeResponse({ ...login, capabilities: all, mariadbCapabilities: 0 })],
  [(payload) => decodeChangeUser(payload, all), encodeChangeUser(login, all)],
  [(payload) => decodeOk(payload, all), encodeOk({ info: Buffer.from('info') }, all, changes)],
  [(payload) => statusAndWarnings(payload, 0, payload.length), encodeOk({}, 0)],
  [decodeErr, encodeErr(Errors.unknown, 'what')],
  [decodeAuthSwitch, Buffer.from('\xfemysql_native_password\0abcdefghijklmnopqrst\0', 'latin1')],
  [decodeAuthMoreData, Buffer.from([1, 3])],
  [(payload) => queryTextStart(payload, all), new PacketWriter().u8(3).u8(1).u8(1).u8(0).u8(1).u16(0xfe).lenencString('n').lenencString('v').string('SELECT 1').finish()],
];

function mutated(bytes: Buffer, random: SeededRandom): Buffer {
  const copy = Buffer.from(bytes);
  for (let count = random.below(4); count > 0 && copy.length > 0; count--) copy[random.below(copy.length)] = random.oneOf([0, 1, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, random.below(256)]);
  if (random.below(3) === 0) return copy.subarray(0, random.below(copy.length + 1));
  return random.below(8) === 0 ? Buffer.concat([copy, random.bytes(random.below(20))]) : copy;
}

function takenOrMalformed(seed: number, take: () => void): void {
  try {
    take();
  } catch (error) {
    if (!(error instanceof MalformedPacketError)) throw new Error(`seed ${seed}`, { cause: error });
  }
}

test('decoders take or refuse every packet', () => {
  for (let seed = 0; seed < 20_000; seed++) {
    const random = seededRandom(seed);
    const [decode, packet] = random.oneOf(packets);
    takenOrMalformed(seed, () => void decode(mutated(packet, random)));
  }
});

const one = Buffer.from([1]);
const definition = Buffer.from('\x03def\x00\x00\x00\x01a\x00\x0c!\x00\x04\x00\x00\x00\xfd\x00\x00\x00\x00\x00', 'latin1');
const responses: [number, Buffer[]][] = [
  [Command.query, [one, definition, encodeEof(2, 0), Buffer.from('\x04some'), encodeEof(2, 0)]],
  [Command.query, [one, definition, Buffer.from('\x04some'), encodeOk({ header: 0xfe, statusFlags: 10 }, all, changes), encodeOk({}, all, changes)]],
  [Command.query, [encodeErr(Errors.queryInterrupted, 'x')]],
  [Command.stmtPrepare, [new PacketWriter().u8(0).u32(7).u16(1).u16(1).u8(0).u16(0).finish(), definition, definition]],
  [Command.stmtExecute, [Buffer.from([1, 1]), definition, Buffer.from('\0\0\x04some'), encodeOk({ header: 0xfe }, all)]],
  [Command.changeUser, [Buffer.from('\xfeplugin\0abc\0', 'latin1'), encodeOk({}, all)]],
];

test('trackers and the translator take or refuse every response, the same in whatever pieces', () => {
  for (let seed = 0; seed < 6_000; seed++) {
    const random = seededRandom(seed);
    const [command, payloads] = random.oneOf(responses);
    const stream = mutated(Buffer.concat(payloads.map((payload, index) => framePayload(payload, index + 1))), random);
    const [backend, client] = [random.oneOf(sides), random.oneOf(sides)];
    const outcomes = [stream.length + 1, 5].map((bytesMax) => {
      const tracker = new ResponseTracker(backend);
      tracker.expect(command);
      const events: number[] = [];
      takenOrMalformed(seed, () => {
        for (const chunk of randomChunks(stream, random, bytesMax)) {
          tracker.feed(chunk);
          for (let event = tracker.next(); event !== ResponseEvent.none; event = tracker.next()) events.push(event, tracker.statusFlags, tracker.errorCode);
        }
      });
      return events;
    });
    expect(outcomes[1]).toEqual(outcomes[0]);
    takenOrMalformed(seed, () => {
      const translator = new ResponseTranslator(backend, client);
      translator.expect(command);
      for (const chunk of randomChunks(Buffer.from(stream), random, 30)) {
        translator.feed(Buffer.from(chunk));
        while (translator.next() !== ResponseEvent.none);
        translator.take();
      }
    });
  }
});

test('a command tracker takes or refuses whatever a client sends', () => {
  for (let seed = 0; seed < 6_000; seed++) {
    const random = seededRandom(seed);
    const commands = Array.from({ length: 1 + random.below(4) }, () => framePayload(random.bytes(random.below(30)), random.below(10) === 0 ? random.below(256) : 0));
    const tracker = new CommandTracker(random.oneOf([100, 1 << 30]));
    takenOrMalformed(seed, () => {
      for (const chunk of randomChunks(mutated(Buffer.concat(commands), random), random)) {
        tracker.feed(chunk);
        for (let event = tracker.next(); event !== CommandEvent.none; event = tracker.next()) if (event === CommandEvent.begin) tracker.capture(1_000);
      }
    });
  }
});

test('memory does not follow what headers promise', () => {
  const before = process.memoryUsage().arrayBuffers;
  const trackers = Array.from({ length: 1_000 }, () => {
    const tracker = new ResponseTracker(sides[1]!);
    tracker.expect(Command.query);
    tracker.feed(Buffer.from([0xfe, 0xff, 0xff, 1, 0x00, 1, 2, 3]));
    tracker.next();
    return tracker;
  });
  expect((process.memoryUsage().arrayBuffers - before) / trackers.length).toBeLessThan(1_000);
});
