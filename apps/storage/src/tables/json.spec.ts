import { describe, expect, test } from '@jest/globals';
import { jsonBytes, mergePatch, parseJson, type Json } from './json.js';

const again = (text: string): string => jsonBytes(parseJson(text)).toString();

describe('what was sent is what is kept', () => {
  test.each([
    ['the largest int64', '{"a":9223372036854775807,"b":-9223372036854775808}'],
    ['a number with more digits than anything holds', '{"a":123456789012345678901234567890}'],
    ['digits in a text', '{"a":"4111111111111111"}'],
    ['a lone surrogate', String.raw`{"a":"\ud800"}`],
    ['NUL, quotes and a line separator', String.raw`{"a":"\u0000\"\\` + '\u2028"}'],
    ['a key __proto__', '{"__proto__":{"a":1},"b":2}'],
    ['emoji', '{"😀":"👩‍👩‍👧"}'],
  ])('%s', (_what, text) => {
    expect(again(text)).toBe(text);
  });

  test('on one line, and of a key that is there twice the last one', () => {
    expect(again('{ "a":\n 1, "a": [ 2,\r\n3 ] }')).toBe('{"a":[2,3]}');
  });
});

describe('what is refused', () => {
  test.each([
    ['{"a":1e400}', 'Bad JSON: a number is too large.'],
    ['{"a":1', 'Bad JSON: '],
    ['', 'Bad JSON: '],
    ['{"a":NaN}', 'Bad JSON: '],
    [`${'['.repeat(101)}${']'.repeat(101)}`, 'Bad JSON: it nests deeper than 100 levels.'],
    [`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`, 'Bad JSON: it nests deeper than 100 levels.'],
  ])('%.20s', (text, message) => {
    expect(() => parseJson(text)).toThrow(message);
  });

  test('not what nests as deep as is allowed', () => {
    expect(() => parseJson(`${'['.repeat(100)}${']'.repeat(100)}`)).not.toThrow();
  });
});

describe('a merge patch', () => {
  test.each<[string, Json, Json, string]>([
    ['replaces', { a: 1, b: 2 }, { a: [3] }, '{"a":[3],"b":2}'],
    ['removes with null, also inside', { a: { b: 1, c: 2 } }, { a: { b: null } }, '{"a":{"c":2}}'],
    ['merges objects and no arrays', { a: { b: 1 }, c: [{ d: 1 }] }, { a: { e: 2 }, c: [{}] }, '{"a":{"b":1,"e":2},"c":[{}]}'],
    ['makes an object of what was none', { a: 1 }, { a: { b: { c: null } } }, '{"a":{"b":{}}}'],
  ])('%s', (_what, target, patch, merged) => {
    expect(JSON.stringify(mergePatch(target, patch))).toBe(merged);
  });

  test('takes a key __proto__ for a key, and changes nothing it was given', () => {
    const target = parseJson('{"__proto__":{"a":1},"n":12345678901234567890}');
    const merged = mergePatch(target, parseJson('{"__proto__":{"b":2}}'));
    expect(jsonBytes(merged).toString()).toBe('{"__proto__":{"a":1,"b":2},"n":12345678901234567890}');
    expect(jsonBytes(target).toString()).toBe('{"__proto__":{"a":1},"n":12345678901234567890}');
    expect(({} as Record<string, unknown>).b).toBeUndefined();
  });
});
