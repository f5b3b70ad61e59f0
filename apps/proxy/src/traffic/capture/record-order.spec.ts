import { Command } from '@binnacle/mysql-wire/command';
import { expect, test } from '@jest/globals';
import { RecordDecoder } from '../files/record-decoder.js';
import { RecordOrder } from './record-order.js';
import { heldBytesMax, TrafficBuffer, type TrafficSink } from './traffic-buffer.js';

class Sink implements TrafficSink {
  readonly #decoder = new RecordDecoder({ file: 'f' });

  writeRecords(chunk: Buffer): boolean {
    this.#decoder.write(chunk);
    return true;
  }

  writeResults(): boolean {
    return true;
  }

  get records(): string[] {
    const records: string[] = [];
    for (let record = this.#decoder.next(); record !== undefined; record = this.#decoder.next()) records.push(`${Buffer.from(record.payload).toString()} ${record.capturedStatementId ?? 0}`);
    return records;
  }
}

function started() {
  const sink = new Sink();
  const buffer = new TrafficBuffer(sink, () => {});
  const order = new RecordOrder(buffer);
  const head = { timeUs: 1, connectionId: 1, command: Command.query as number, capturedStatementId: 0 };
  return {
    buffer,
    order,
    put: (text: string, ofLast = false) => order.put(head, Buffer.from(text), 0, text.length, ofLast),
    prepare: (text: string) => order.putPrepare(head, Buffer.from(text), 0, text.length),
    written: (): string[] => {
      buffer.flush();
      return sink.records;
    },
  };
}

test('what is sent behind a statement that is being prepared waits for its id, and gets it where it means it', () => {
  const { order, put, prepare, written, buffer } = started();
  put('before');
  prepare('one');
  put('executes one', true);
  put('plain');
  prepare('two');
  put('executes two', true);
  expect(written()).toEqual(['before 0']);
  order.prepared(7);
  order.answered();
  expect(written()).toEqual(['one 7', 'executes one 7', 'plain 0']);
  order.prepared(8);
  order.answered();
  put('behind');
  expect(written()).toEqual(['two 8', 'executes two 8', 'behind 0']);
  expect(buffer.bufferedBytes).toBe(0);
});

test('a statement that could not be prepared, or whose answer never comes, has no id', () => {
  const { order, put, prepare, written } = started();
  prepare('wrong');
  order.answered();
  prepare('cut');
  put('off', true);
  order.end();
  expect(written()).toEqual(['wrong 0', 'cut 0', 'off 0']);
});

test('what waits is bounded', () => {
  const { order, prepare, put, buffer } = started();
  expect(buffer.hold(heldBytesMax - 5)).toBe(true);
  expect(prepare('12345')).toBe(true);
  expect(put('6')).toBe(false);
  order.answered();
  expect(put('6')).toBe(true);
});
