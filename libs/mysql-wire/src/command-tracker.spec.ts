import { expect, test } from '@jest/globals';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { Command, commandName, isAnswered } from './command.js';
import { CommandEvent, CommandTracker, hasStatementId, replaceStatementId, statementIdOf } from './command-tracker.js';
import { framePayload } from './packet-header.js';

const text = (statement: string): Buffer => framePayload(Buffer.concat([Buffer.from([Command.query]), Buffer.from(statement)]), 0);

/** Each event with its command and what was captured. */
function follow(tracker: CommandTracker, chunks: readonly Buffer[]): string[] {
  const events: string[] = [];
  for (const chunk of chunks) {
    tracker.feed(chunk);
    for (let event = tracker.next(); event !== CommandEvent.none; event = tracker.next()) {
      if (event === CommandEvent.begin) tracker.capture(9);
      else {
        const { payload, payloadStart, payloadEnd } = tracker.scanner;
        const name = Object.entries(CommandEvent).find(([, code]) => code === event)![0];
        events.push(event === CommandEvent.end ? `${commandName(tracker.command)} ${payload.toString('latin1', payloadStart + 1, payloadEnd)}` : name);
      }
    }
  }
  return events;
}

test('commands are found in whatever pieces they come', () => {
  const stream = Buffer.concat([text('SELECT 1'), framePayload(Buffer.from([Command.ping]), 0), text('SELECT a long one')]);
  const expected = ['COM_QUERY SELECT 1', 'COM_PING ', 'COM_QUERY SELECT a'];
  expect(follow(new CommandTracker(), [stream])).toEqual(expected);
  expect(follow(new CommandTracker(), randomChunks(stream, seededRandom(1), 3))).toEqual(expected);
});

test('a file and an authentication reply are no commands', () => {
  const tracker = new CommandTracker();
  expect(follow(tracker, [text('LOAD')])).toHaveLength(1);
  tracker.expectInfile();
  const file = [Buffer.from('\x01a,b'), Buffer.from('c'), Buffer.alloc(0)].map((payload, index) => framePayload(payload, index + 2));
  expect(follow(tracker, [Buffer.concat(file), text('SELECT 2')])).toEqual(['infileEnd', 'COM_QUERY SELECT 2']);
  tracker.expectAuthentication();
  expect(follow(tracker, [framePayload(Buffer.alloc(20), 2), text('SELECT 3')])).toEqual(['authentication', 'COM_QUERY SELECT 3']);
});

test('packets of a file are reported for who gives them other ids', () => {
  const tracker = new CommandTracker();
  const packets = [Buffer.alloc(0xff_ff_ff), Buffer.alloc(5), Buffer.alloc(0)].map((payload, index) => framePayload(payload, index === 0 ? 4 : 5 + index));
  const stream = Buffer.concat([...packets, text('SELECT 1')]);
  for (const chunks of [[stream], randomChunks(stream, seededRandom(1), 1_000_000)]) {
    tracker.expectInfile(true);
    expect(tracker.inFile).toBe(true);
    // The first one has 16 MB, so a frame goes on with it.
    expect(follow(tracker, chunks)).toEqual(['packet', 'packet', 'packet', 'packet', 'infileEnd', 'COM_QUERY SELECT 1']);
    expect(tracker.inFile).toBe(false);
  }
});

test('a command with another sequence id than 0, and an empty one, are malformed', () => {
  expect(() => follow(new CommandTracker(), [framePayload(Buffer.from([Command.ping]), 1)])).toThrow('sequence id 0');
  expect(() => follow(new CommandTracker(), [framePayload(Buffer.from([0xff]), 1)])).toThrow('sequence id 0');
  expect(() => follow(new CommandTracker(), [framePayload(Buffer.alloc(0), 0)])).toThrow('a command code');
});

test('statement ids are read and replaced in place', () => {
  const payload = Buffer.from([Command.stmtExecute, 7, 0, 0, 0, 0, 1, 0, 0, 0]);
  expect(statementIdOf(payload, 0, payload.length)).toBe(7);
  replaceStatementId(payload, 0, 0xff_ff_ff_fe);
  expect(statementIdOf(payload, 0, payload.length)).toBe(0xff_ff_ff_fe);
  expect(() => statementIdOf(payload, 0, 4)).toThrow('a statement id');
  const codes = Object.values(Command);
  expect(codes.filter(hasStatementId).map(commandName)).toEqual([
    'COM_STMT_EXECUTE', 'COM_STMT_SEND_LONG_DATA', 'COM_STMT_CLOSE', 'COM_STMT_RESET', 'COM_STMT_FETCH', 'COM_STMT_BULK_EXECUTE',
  ]);
  expect(codes.filter((code) => !isAnswered(code)).map(commandName)).toEqual(['COM_QUIT', 'COM_STMT_SEND_LONG_DATA', 'COM_STMT_CLOSE']);
});
