import { FakeClock } from '@binnacle/testing/fake-clock';
import { expect, test } from '@jest/globals';
import { addressesMax, FailedAttempts, failuresAtOnceMax, fullAtAfterFailure, networkOf, refillMs, waitForTokenMs } from './failed-attempts.js';

function fail(attempts: FailedAttempts, address: string, times: number): void {
  for (let count = 0; count < times; count++) attempts.record(address);
}

test('the last token is still one, the failure that takes it makes the address wait for a refill', () => {
  let fullAtMs = 0;
  for (let failure = 1; failure < failuresAtOnceMax; failure++) fullAtMs = fullAtAfterFailure(fullAtMs, 0);
  expect(waitForTokenMs(fullAtMs, 0)).toBe(0);
  fullAtMs = fullAtAfterFailure(fullAtMs, 0);
  expect(waitForTokenMs(fullAtMs, 0)).toBe(refillMs);
  expect(waitForTokenMs(fullAtMs, refillMs - 1)).toBe(1);
  expect(waitForTokenMs(fullAtMs, refillMs)).toBe(0);
});

test('a bucket fills no further than full: quiet hours save up no extra guesses', () => {
  const hourMs = 3_600_000;
  let fullAtMs = fullAtAfterFailure(0, 0);
  for (let failure = 0; failure < failuresAtOnceMax; failure++) fullAtMs = fullAtAfterFailure(fullAtMs, hourMs);
  expect(waitForTokenMs(fullAtMs, hourMs)).toBe(refillMs);
});

test('one address is locked out, another is not', async () => {
  const clock = new FakeClock();
  const attempts = new FailedAttempts(clock);
  fail(attempts, '10.0.0.1', failuresAtOnceMax);
  expect(attempts.waitMs('10.0.0.1')).toBe(refillMs);
  expect(attempts.waitMs('10.0.0.2')).toBe(0);
  await clock.advance(refillMs);
  expect(attempts.waitMs('10.0.0.1')).toBe(0);
  attempts.record('10.0.0.1');
  expect(attempts.waitMs('10.0.0.1')).toBe(refillMs);
});

test('the neighbours within one IPv6 network share a bucket, and IPv4 is the same inside IPv6', () => {
  const attempts = new FailedAttempts(new FakeClock());
  for (let host = 1; host <= failuresAtOnceMax; host++) attempts.record(`2001:db8:0:1::${host.toString(16)}`);
  expect(attempts.waitMs('2001:db8:0:1:ffff::1')).toBe(refillMs);
  expect(attempts.waitMs('2001:db8:0:2::1')).toBe(0);
  expect(networkOf('::ffff:10.1.2.3')).toBe('10.1.2.3');
  expect(networkOf('fe80::1%eth0')).toBe('fe80:0:0:0::/64');
  expect(networkOf('1:2:3:4:5:6:7:8')).toBe('1:2:3:4::/64');
  expect(networkOf('::1')).toBe('0:0:0:0::/64');
});

test('the table stays bounded and forgets the address that failed longest ago', () => {
  const attempts = new FailedAttempts(new FakeClock());
  fail(attempts, 'first', failuresAtOnceMax);
  fail(attempts, 'second', failuresAtOnceMax);
  for (let n = 0; n < addressesMax - 1; n++) attempts.record(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`);
  expect(attempts.addressCount()).toBe(addressesMax);
  expect(attempts.waitMs('first')).toBe(0);
  expect(attempts.waitMs('second')).toBe(refillMs);
});

test('an address whose bucket is full again is forgotten', async () => {
  const clock = new FakeClock();
  const attempts = new FailedAttempts(clock);
  attempts.record('10.0.0.1');
  await clock.advance(refillMs);
  attempts.record('10.0.0.2');
  expect(attempts.addressCount()).toBe(1);
});
