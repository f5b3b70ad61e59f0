import { describe, expect, test } from '@jest/globals';
import { AnswerParser, BadAnswer } from './answer-parser.js';

class Recorder {
  readonly events: unknown[] = [];
  readonly parser = new AnswerParser({
    onBegin: () => void this.events.push('begin'),
    onHead: (status, headers) => void this.events.push([status, ...headers]),
    onBody: (chunk) => {
      const last = this.events.at(-1);
      // How a body is cut up is not part of it.
      if (typeof last === 'string' && last.startsWith('body ')) this.events[this.events.length - 1] = last + chunk.toString('latin1');
      else this.events.push(`body ${chunk.toString('latin1')}`);
    },
    onEnd: () => void this.events.push(this.parser.keepsAlive ? 'end' : 'end, close'),
  });
}

function read(text: string, cuts: readonly number[] = []): unknown[] {
  const { parser, events } = new Recorder();
  const bytes = Buffer.from(text, 'latin1');
  parser.expect();
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    parser.write(bytes.subarray(from, cut));
    from = cut;
  }
  parser.finish();
  return events;
}

const answers: [string, string, unknown[]][] = [
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:b\r\n\r\nhello', ['begin', [200, 'content-length', '5', 'x-a', 'b'], 'body hello', 'end']],
  ['no body', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ['begin', [200, 'content-length', '0'], 'end']],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', ['begin', [204], 'end']],
  ['304 with the length of what it does not send', 'HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n', ['begin', [304, 'content-length', '9'], 'end, close']],
  [
    'chunks, extensions and trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n, world!\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n',
    ['begin', [200, 'transfer-encoding', 'chunked'], 'body hello, world!\r\n', 'end'],
  ],
  ['until the connection ends', 'HTTP/1.1 200 OK\r\n\r\nall that comes', ['begin', [200], 'body all that comes', 'end, close']],
  ['a connection that ends', 'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na', ['begin', [200, 'connection', 'x, Close', 'content-length', '1'], 'body a', 'end, close']],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', ['begin', [200, 'content-length', '1'], 'body a', 'end, close']],
  ['an interim answer first', 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na', ['begin', 'begin', [200, 'content-length', '1'], 'body a', 'end']],
  ['blanks around a value, and bytes above ASCII in it', 'HTTP/1.1 200\r\nX-A: \t b \xe9\xa0 \t\r\nContent-Length: 0\r\n\r\n', ['begin', [200, 'x-a', 'b \xe9\xa0', 'content-length', '0'], 'end']],
  ['an empty value', 'HTTP/1.1 200 OK\r\nX-A:\r\nContent-Length: 0\r\n\r\n', ['begin', [200, 'x-a', '', 'content-length', '0'], 'end']],
];

describe('an answer', () => {
  test.each(answers)('with %s', (_what, text, events) => expect(read(text)).toEqual(events));

  test.each(answers)('with %s is the same wherever it is cut', (_what, text, events) => {
    for (let first = 1; first < text.length; first++) expect(read(text, [first])).toEqual(events);
    expect(read(text, Array.from({ length: text.length - 1 }, (_, index) => index + 1))).toEqual(events);
  });

  test('may follow another on its connection', () => {
    const { parser, events } = new Recorder();
    for (const body of ['a', 'b']) {
      parser.expect();
      parser.write(Buffer.from(`HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=72\r\nContent-Length: 1\r\n\r\n${body}`));
    }
    expect(events.filter((event) => typeof event === 'string')).toEqual(['begin', 'body a', 'end', 'begin', 'body b', 'end']);
    expect(parser.keepAliveHintS).toBe(72);
  });
});

describe('what is refused', () => {
  const head = (...lines: string[]) => `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
  const chunked = (body: string) => head('Transfer-Encoding: chunked') + body;

  test.each([
    ['another protocol', 'SSH-2.0-x\r\n\r\n'],
    ['HTTP/2', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
    ['a change of protocol', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
    ['a header without a colon', head('nothing')],
    ['a header without a name', head(': x')],
    ['a blank before the colon', head('Content-Length : 5')],
    ['a folded header', head('X-A: 1', ' b')],
    ['a bare line feed', head('X-A: 1\nContent-Length: 5')],
    ['a bare carriage return', head('X-A: 1\rContent-Length: 5')],
    ['a NUL', head('X-A: \0')],
    ['two lengths', head('Content-Length: 5', 'Content-Length: 5')],
    ['a list of lengths', head('Content-Length: 5, 5')],
    ['a negative length', head('Content-Length: -5')],
    ['a length in hexadecimal', head('Content-Length: 0x5')],
    ['a length that no number can hold', head('Content-Length: 99999999999999999999')],
    ['a length and chunks', head('Content-Length: 5', 'Transfer-Encoding: chunked')],
    ['two codings', head('Transfer-Encoding: gzip, chunked')],
    ['a coding twice', head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
    ['a chunk without a size', chunked('\r\n')],
    ['a chunk with a negative size', chunked('-1\r\n')],
    ['a chunk with a prefixed size', chunked('0x5\r\nhello')],
    ['a chunk of too many digits', chunked('fffffffffffff\r\n')],
    ['a chunk longer than it said', chunked('1\r\nab\r\n')],
    ['an endless chunk line', chunked(`1;${'a'.repeat(5_000)}`)],
    ['an endless head', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(40_000)}`],
    ['bytes after the end', `${head('Content-Length: 1')}ab`],
    ['a body where there is none', `HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na`],
  ])('%s', (_what, text) => expect(() => read(text)).toThrow(BadAnswer));

  test('bytes that nobody asked for', () => {
    expect(() => new Recorder().parser.write(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))).toThrow(BadAnswer);
  });

  test('an answer that breaks off has no end', () => {
    for (const text of [head('Content-Length: 5') + 'hell', chunked('5\r\nhello\r\n'), 'HTTP/1.1 200 OK\r\n', chunked('0\r\n')]) {
      expect(read(text).filter((event) => String(event).startsWith('end'))).toEqual([]);
    }
  });
});
