import { expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeClock } from '@binnacle/testing/fake-clock';
import pino from 'pino';
import { parseUsersFile, UsersFile } from './users-file.js';

const hash = '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19';

test('passwords, hashes, and passwords that look like one', () => {
  const users = parseUsersFile(`[users]\napp = "pässword"\nempty = ""\nreport = "${hash}"\n"odd name" = { password = "${hash}" }\n`);
  expect(Object.fromEntries(users)).toEqual({
    app: { kind: 'password', password: 'pässword' },
    empty: { kind: 'password', password: '' },
    report: { kind: 'hash', hash: Buffer.from(hash.slice(1), 'hex') },
    'odd name': { kind: 'password', password: hash },
  });
  expect(parseUsersFile('').size).toBe(0);
});

test.each([
  ['[users]\napp = "secret', /not TOML at line 2/],
  ['[users]\napp = 5', /"app" .* has no password/],
  ['[users]\napp = "*2470secret"', /"app" .* 40 hexadecimal digits/],
  ['app = "secret"', /has the table or key "app"/],
  ['users = "secret"', /is no table/],
])('a file that is wrong is refused without showing what is in it: %s', (text, message) => {
  expect(() => parseUsersFile(text)).toThrow(message);
  expect(() => parseUsersFile(text)).not.toThrow(/secret/);
});

test('a file that has changed counts after 10 s, one that is broken then does not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'binnacle-users-'));
  const file = join(folder, 'users.toml');
  const clock = new FakeClock();
  const usersFile = new UsersFile(file, clock, pino({ level: 'silent' }));
  expect(() => usersFile.check()).toThrow(/proxy.users-file .* cannot be used/);
  writeFileSync(file, '[users]\na = "1"');
  usersFile.check();
  expect([...usersFile.users.keys()]).toEqual(['a']);
  writeFileSync(file, '[users]\na = "1"\nb = "2"');
  expect(usersFile.users.size).toBe(1);
  await clock.advance(10_000);
  expect(usersFile.users.size).toBe(2);
  writeFileSync(file, '[users');
  await clock.advance(10_000);
  expect(usersFile.users.size).toBe(2);
  rmSync(folder, { recursive: true });
});
