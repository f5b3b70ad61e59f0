import { expect, test } from '@jest/globals';
import { decryptPassword, encryptPassword, newRsaKeys, sha2Reply, sha2Stage1, verifySha2 } from './caching-sha2-password.js';
import { clearReply, parseClearReply } from './clear-password.js';
import { nativeReply, nativeStage1, parseNativeHash, verifyNative } from './native-password.js';
import { digest, newScramble } from './scramble.js';

test('a native reply gives what the next login needs, and only if it is right', () => {
  const stored = parseNativeHash('*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19')!; // PASSWORD('password')
  const scramble = newScramble();
  const stage1 = verifyNative(nativeReply(nativeStage1('password'), scramble), scramble, stored);
  expect(stage1).toEqual(nativeStage1('password'));
  expect(verifyNative(nativeReply(nativeStage1('Password'), scramble), scramble, stored)).toBeUndefined();
  expect(verifyNative(Buffer.alloc(0), scramble, stored)).toBeUndefined();
  expect(parseNativeHash('2470C0C0')).toBeUndefined();
});

test('a fast reply of caching_sha2_password gives what the next login needs, and only if it is right', () => {
  const scramble = newScramble();
  const stage1 = sha2Stage1('secret');
  const cached = digest('sha256', stage1);
  expect(verifySha2(sha2Reply(stage1, scramble), scramble, cached)).toEqual(stage1);
  expect(verifySha2(sha2Reply(sha2Stage1('other'), scramble), scramble, cached)).toBeUndefined();
});

test('an encrypted password is read with the key and the scramble it was made for', async () => {
  const { privateKey, publicKeyPem } = await newRsaKeys();
  const scramble = newScramble();
  const encrypted = encryptPassword('pässword that is longer than the scramble', scramble, publicKeyPem);
  expect(decryptPassword(encrypted, scramble, privateKey)).toBe('pässword that is longer than the scramble');
  encrypted[5]! ^= 1;
  expect(decryptPassword(encrypted, scramble, privateKey)).toBeUndefined();
});

test('a clear password ends with its NUL and has no other', () => {
  expect(parseClearReply(clearReply('pw'))).toBe('pw');
  expect(parseClearReply(Buffer.from('pw'))).toBeUndefined();
  expect(parseClearReply(Buffer.from('p\0w\0'))).toBeUndefined();
});

test('scrambles have no byte that a client might stop at', () => {
  for (let i = 0; i < 500; i++) expect([...newScramble()].every((byte) => byte > 0 && byte < 128 && byte !== 0x24)).toBe(true);
});
