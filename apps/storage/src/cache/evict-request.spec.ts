import { expect, test } from '@jest/globals';
import { parseSizeEviction, parseTypeEviction, requestText, type EvictRequest } from './evict-request.js';
import { fileTypes } from './file-type.js';

const path = '/tiflash/remote/cache/evict/it';
const text = (request: object): string => ('message' in request ? (request as { message: string }).message : requestText(request as EvictRequest));

test.each(fileTypes.map((type, number) => [String(number), type]))('type %s is %s', (number, type) => {
  expect(text(parseTypeEviction(path, number))).toBe(`{method=ByFileType evict_type=${type}}`);
});

test.each([
  ['13', 'invalid file type enum value in request:'],
  ['-1', 'invalid file type enum value in request:'],
  ['99999999999999999999', 'invalid file type enum value in request:'],
  ['ColData', 'invalid file type in request:'],
  ['1.5', 'invalid file type in request:'],
  ['0x1', 'invalid file type in request:'],
])('type %s is refused', (type, message) => {
  expect(parseTypeEviction(path, type)).toEqual({ message: `${message} ${path}` });
});

test.each([
  ['408022894000', { age: '0' }, '408022894000 min_age=0 force=false'],
  ['1', {}, '1 min_age=1800 force=false'],
  ['1', { force: '', age: '7' }, '1 min_age=7 force=true'],
  ['1', { force: 'true' }, '1 min_age=1800 force=true'],
  ['1', { force: '1' }, '1 min_age=1800 force=true'],
  ['1', { force: '0' }, '1 min_age=1800 force=false'],
  ['1', { force: 'false' }, '1 min_age=1800 force=false'],
  ['18446744073709551615', {}, '18446744073709551615 min_age=1800 force=false'],
])('size %s with %j', (size, query, expected) => {
  expect(text(parseSizeEviction(path, size, query, 1_800))).toBe(`{method=ByEvictSize reserve_size=${expected}}`);
});

test.each([
  ['x', {}, 'invalid size in request:'],
  ['', {}, 'invalid size in request:'],
  ['18446744073709551616', {}, 'invalid size in request:'],
  ['-5', {}, 'invalid negative size in request:'],
  ['5', { age: 'x' }, 'invalid age in request:'],
  ['5', { age: '-1' }, 'invalid age in request:'],
])('size %s with %j is refused', (size, query, message) => {
  expect(parseSizeEviction(path, size, query, 1_800)).toEqual({ message: `${message} ${path}` });
});
