import { expect, test } from '@jest/globals';
import { LineSplitter } from './line-splitter.js';

function lines(text: string, chunkBytes: number, lineBytesMax = 10): string[] {
  const splitter = new LineSplitter(lineBytesMax);
  const bytes = Buffer.from(text);
  const found: string[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) {
    for (const line of splitter.push(bytes.subarray(start, start + chunkBytes))) found.push(line.toString());
  }
  for (const line of splitter.end()) found.push(line.toString());
  return found;
}

test.each<[string, string, string[]]>([
  ['nothing', '', []],
  ['one line without an end', 'ab', ['ab']],
  ['CRLF, empty and blank lines', 'a\r\n\r\n  \n\nb c\n', ['a', 'b c']],
  ['characters of several bytes', 'ä€😀\nb', ['ä€😀', 'b']],
  ['a line as long as allowed, with CRLF', '0123456789\r\nb', ['0123456789', 'b']],
  ['one that is too long, between others', 'a\n01234567890\nb', ['a', 'too long', 'b']],
  ['one that is much too long at the end', `a\n${'x'.repeat(1_000)}`, ['a', 'too long']],
])('%s, however it comes', (_what, text, expected) => {
  for (const chunkBytes of [1, 2, 3, 7, 1_000]) expect(lines(text, chunkBytes)).toEqual(expected);
});
