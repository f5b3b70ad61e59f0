import { expect, test } from '@jest/globals';
import { parseSettings, Settings } from './settings.js';

test('what a document leaves out has its default', () => {
  expect(parseSettings('{"skipWrites":true}')).toEqual({ ...new Settings(), skipWrites: true });
});

test.each(['{"skipWrites":"yes"}', '{"logSlowRequestsTimeMs":-2}', '{"cacheNumEntries":1.5}', '[]', 'null', '{'])('%s is refused', (text) => {
  expect(() => parseSettings(text)).toThrow();
});

test('a key of a later version is dropped: during an upgrade both versions read one document', () => {
  expect(parseSettings('{"skipWrites":true,"ofTomorrow":1}')).toEqual({ ...new Settings(), skipWrites: true });
});
