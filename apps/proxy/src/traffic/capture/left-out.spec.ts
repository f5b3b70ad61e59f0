import { expect, test } from '@jest/globals';
import type { Session } from '../../session/session.js';
import { type Speaker, whyLeftOut } from './left-out.js';

test('behind a text that is too long to be read the session may be in the schema of the accounts', () => {
  const session = { database: 'app', admission: { lexerMode: {} }, responses: { tracker: { commandsPending: 0 } }, witness: { tracked: true }, state: { unsafeCharset: false } } as unknown as Session;
  const speaker: Speaker = { session, usesAccountSchema: false };
  const why = (text: string): string | undefined => whyLeftOut(speaker, Buffer.from(text), 0, Buffer.byteLength(text));
  const replace = "REPLACE INTO servers (Server_name, Password) VALUES ('a', 'b')";
  expect(why(replace)).toBeUndefined();
  expect(why(`SELECT '${'x'.repeat(300_000)} password'; USE mysql`)).toBe('doubtful');
  expect(why(replace)).toBe('secret');
});
