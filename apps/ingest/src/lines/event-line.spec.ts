import { expect, test } from '@jest/globals';
import { readEventLine, readServiceCheckLine } from './event-line.js';

const receipt = { source: '10.0.0.7', nowS: 1_700_000_000 };
const event = (text: string) => readEventLine(Buffer.from(text), receipt);
const check = (text: string) => readServiceCheckLine(Buffer.from(text), receipt);

test('an event with nothing but a title and a text is of its sender, and of now', () => {
  expect(event('_e{5,4}:title|text')).toEqual({
    title: 'title',
    text: 'text',
    happenedAtS: 1_700_000_000,
    source: '10.0.0.7',
    aggregationKey: '',
    sourceTypeName: '',
    tags: [],
    priority: 'normal',
    type: 'info',
    kind: 'event',
  });
});

test('an event has all that it says; lengths are in bytes, and an escaped line end is one', () => {
  const text = '_e{6,12}:größ|a|b\\nsecond|#z:1,a:2|d:1600000000|h:db-1|k:key|p:low|s:nagios|t:error'.replace('größ', 'grö');
  expect(event(text.replace('_e{6,12}:grö', '_e{4,11}:grö'))).toMatchObject({
    title: 'grö',
    text: 'a|b\nsecond',
    happenedAtS: 1_600_000_000,
    source: 'db-1',
    aggregationKey: 'key',
    sourceTypeName: 'nagios',
    tags: ['a:2', 'z:1'],
    priority: 'low',
    type: 'error',
  });
});

test.each(['_e{5,4}:title', '_e{5,9}:title|text', '_e{0,4}:|text', '_e{5,4}:titleXtext', '_e{5,4}:title|text|p:high', '_e{5,4}:title|text|t:bad', '_e{5,4}:title|textmore', '_e{5,4}:title|text|d:x', '_e{5,4}:title|text|x:1', '_e{a,b}:t|t', '_x'])(
  '%s is no event',
  (text) => expect(event(text)).toBeUndefined(),
);

test('a service check has a status, and a message that may hold bars', () => {
  expect(check('_sc|db.up|2|d:1600000000|h:db-1|#b,a|m:no answer | at all')).toMatchObject({
    title: 'db.up',
    text: 'no answer | at all',
    type: 'error',
    happenedAtS: 1_600_000_000,
    source: 'db-1',
    tags: ['a', 'b'],
    kind: 'service-check',
  });
  expect(['0', '1', '2', '3'].map((status) => check(`_sc|x|${status}`)?.type)).toEqual(['success', 'warning', 'error', 'info']);
});

test.each(['_sc|db.up', '_sc|db.up|4', '_sc||1', '_sc|db.up|1|x:2', '_sc|db.up|1junk'])('%s is no service check', (text) => expect(check(text)).toBeUndefined());
