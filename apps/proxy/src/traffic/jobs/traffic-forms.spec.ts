import { describe, expect, test } from '@jest/globals';
import { captureWish } from './capture-form.js';
import { replayWish } from './replay-form.js';
import { TrafficForm } from './traffic-form.js';

const nowMs = Date.parse('2026-11-21T09:00:00Z');
const form = (text: string): TrafficForm => new TrafficForm(new URLSearchParams(text));
const capture = (text: string) => captureWish(form(text), nowMs);
const replay = (text: string) => replayWish(form(text), nowMs);

describe('capture', () => {
  test('takes the form of TiProxy, as tiproxyctl and TiDB send it', () => {
    expect(capture('output=/tmp/t&duration=1h&encrypt-method=AES256-CTR&compress=false&start-time=2026-11-21T08:59:30Z')).toEqual({
      output: '/tmp/t',
      durationMs: 3_600_000,
      compress: false,
      encryptMethod: 'aes256-ctr',
      layers: 'compress-first',
      explain: undefined,
      startedAtMs: nowMs - 30_000,
    });
    expect(capture('output=/tmp/t&duration=2s&encrypt-method=&compress=')).toMatchObject({ compress: true, encryptMethod: '', startedAtMs: nowMs });
  });

  test.each([
    ['duration=1h', 'output is required'],
    ['output=/t', 'duration is required'],
    ['output=/t&duration=10', 'time: missing unit in duration "10"'],
    ['output=/t&duration=1d', 'time: unknown unit "d"'],
    ['output=/t&duration=-5s', 'duration should be between 100ms and 168h'],
    ['output=/t&duration=169h', 'duration should be between 100ms and 168h'],
    ['output=/t&duration=1h&encrypt-method=rot13', 'unsupported encrypt method: rot13'],
    ['output=/t&duration=1h&encrypt-layers=both', 'encrypt-layers is'],
    ['output=/t&duration=1h&compress=perhaps', 'strconv.ParseBool: parsing "perhaps": invalid syntax'],
    ['output=/t&duration=1h&start-time=2026-11-21T09:02:00Z', 'start time should not be in the future'],
    ['output=/t&duration=1m&start-time=2026-11-21T08:00:00Z', 'start time should not be in the past'],
    ['output=/t&duration=1h&start-time=yesterday', 'start-time must be a time'],
    ['output=/t&duration=1h&explain-password=x', 'explain-password without explain-username'],
    ['output=/t&duration=1h&outptu=/x', 'there is no field "outptu": there are output, duration'],
    ['output=/t&output=/u&duration=1h', '"output" is given twice'],
    ['output=/t%00&duration=1h', '"output" is longer than'],
  ])('refuses %s', (text, message) => expect(() => capture(text)).toThrow(message));
});

describe('replay', () => {
  test('takes the form of TiProxy, and filters and thresholds of ours', () => {
    const digest = 'A'.repeat(64);
    expect(replay(`input=/t&username=u&password=p%26w&speed=2&readonly=TRUE&ignore-errs=true&bufsize=100000&ps-close=directed&format=native&users=a,b&commands=Query&digests=${digest}&different-max=0.1&p95-factor-max=3`)).toMatchObject({
      input: '/t',
      username: 'u',
      password: 'p&w',
      speed: 2,
      readOnly: true,
      ignoreErrors: true,
      filters: { users: ['a', 'b'], commands: ['Query'], digests: ['a'.repeat(64)] },
      thresholds: { differentMax: 0.1, p95FactorMax: 3 },
    });
  });

  test('without a speed, or with 0, it is 1', () => expect(['', '&speed=0', '&speed='].map((more) => replay(`input=/t&username=u${more}`).speed)).toEqual([1, 1, 1]));

  test.each([
    ['username=u', 'input is required'],
    ['input=/t', 'username is required'],
    ['input=/t&username=u&speed=NaN', 'strconv.ParseFloat: parsing "NaN": invalid syntax'],
    ['input=/t&username=u&speed=abc', 'strconv.ParseFloat: parsing "abc": invalid syntax'],
    ['input=/t&username=u&speed=10.5', 'speed should be between 0.100000 and 10.000000'],
    ['input=/t&username=u&speed=-1', 'speed should be between 0.100000 and 10.000000'],
    ['input=/t&username=u&format=audit_log_plugin', 'invalid traffic file format audit_log_plugin'],
    ['input=/t&username=u&ps-close=always', 'ps-close is directed'],
    ['input=/t&username=u&dryrun=true', 'dryrun is not supported'],
    ['input=/t&username=u&addr=db:4000', 'addr is not supported'],
    ['input=/t&username=u&digests=xyz', 'a digest has 64 hexadecimal digits'],
    ['input=/t&username=u&new-error-max=2', 'new-error-max is from 0 to 1'],
    ['input=/t&username=u&readonly=ture', 'strconv.ParseBool: parsing "ture"'],
  ])('refuses %s', (text, message) => expect(() => replay(text)).toThrow(message));

  test('no message repeats a password', () => {
    for (const text of ['input=/t&username=u&password=hunter2&speed=x', 'username=u&password=hunter2', 'input=/t&username=u&password=hunter2&password=hunter2']) {
      try {
        replay(text);
      } catch (error) {
        expect((error as Error).message).not.toContain('hunter2');
      }
    }
    expect.assertions(3);
  });
});

test('a form in JSON has texts, numbers and booleans', () => {
  const of = (body: object): TrafficForm => new TrafficForm(Object.entries(body));
  expect(replayWish(of({ input: '/t', username: 'u', speed: 0.5, readonly: true, password: null }), nowMs)).toMatchObject({ speed: 0.5, readOnly: true, password: '' });
  expect(() => of({ input: ['/t'] })).toThrow('"input" must be a text, a number, or true or false');
});
