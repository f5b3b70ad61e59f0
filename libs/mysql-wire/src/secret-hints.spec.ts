import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { expect, test } from '@jest/globals';
import { SecretHints } from './secret-hints.js';
import { mayHoldSecret } from './secret-statements.js';

/** One example of each thing that is looked for. */
const suspicious = `identified passw password passphrase user server grant master replication connection import backup restore load secret credential access-key accesskey auth
  aes_ des_ encode decode encrypt mysql global_priv spider_ a://b prepare execute pwd root_pwd token external servers`.split(/\s+/);

const seen = (...pieces: readonly Buffer[]): boolean => {
  const hints = new SecretHints();
  for (const piece of pieces) hints.read(Buffer.concat([Buffer.from('load '), piece, Buffer.from(' user')]), 5, 5 + piece.length);
  return hints.seen;
};

test('sees whatever has to be looked at more closely, in whatever pieces it comes', () => {
  const random = seededRandom(3);
  const between = ['select', ' ', '.', '(', '=', "'", '\n', 'x', 'usr', 'pas', 'é', '/*', ':/'];
  for (let round = 0; round < 3_000; round++) {
    const words = Array.from({ length: random.below(12) }, () => random.oneOf(random.below(20) === 0 ? suspicious : between));
    const text = words.map((word) => (random.below(3) === 0 ? word.toUpperCase() : word)).join(random.oneOf(['', ' ']));
    const bytes = Buffer.from(text);
    const found = seen(...randomChunks(bytes, random, 5));
    expect(found).toBe(seen(bytes));
    if (!found) expect([text, mayHoldSecret(bytes.toString('latin1'), undefined, '')]).toEqual([text, false]);
  }
  for (const word of suspicious) {
    expect([word, mayHoldSecret(`select ${word} 1`, undefined, '')]).toEqual([word, true]);
    expect([word, seen(Buffer.from(`select ${word} 1`))]).toEqual([word, true]);
  }
});

test('does not see it in what most statements are', () => {
  for (const text of [
    'SELECT c FROM sbtest1 WHERE id=12345',
    "INSERT INTO orders (id, total, created_at) VALUES (17, 12.50, '2026-01-01 10:00:00')",
    'UPDATE accounts SET balance = balance - 10 WHERE id = 5',
    'SELECT DISTINCT c FROM sbtest2 WHERE id BETWEEN 1 AND 100 ORDER BY c',
    'BEGIN',
    'COMMIT',
  ]) {
    expect([text, seen(Buffer.from(text))]).toEqual([text, false]);
  }
});

test('begins anew', () => {
  const hints = new SecretHints();
  hints.read(Buffer.from('set pass'), 0, 8);
  expect(hints.seen).toBe(true);
  hints.reset();
  hints.read(Buffer.from('us'), 0, 2);
  hints.reset();
  hints.read(Buffer.from('er'), 0, 2);
  expect(hints.seen).toBe(false);
});
