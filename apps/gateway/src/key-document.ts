/** One API key as cluster state holds it: no part of the value but its first four characters, for people to tell keys apart. */
export interface StoredKey {
  readonly id: number;
  readonly description: string;
  /** Scopes: `resource:verb`, with `*` as a wildcard. */
  readonly actions: readonly string[];
  readonly valuePrefix: string;
  /** SHA-256 of the salt and the value, hexadecimal. */
  readonly digest: string;
  /** Seconds since 1970. */
  readonly expiresAtS: number;
}

/** The document `api-keys` of cluster state. */
export interface KeyDocument {
  /** Made with the first key; empty before. */
  readonly salt: string;
  /** Ids are never used again. */
  readonly nextId: number;
  readonly keys: readonly StoredKey[];
}

/*
 * A document holds at most 1 MiB: 256 keys x (32 scopes x 67 bytes + 256 escaped characters of description x 6 bytes + 200) = 0.95 MiB.
 * The comparison of a presented key with 256 digests takes about 15 us.
 */
export const keysMax = 256;
export const actionsMax = 32;
export const actionLengthMax = 64;
export const descriptionLengthMax = 256;

export const emptyKeyDocument: KeyDocument = { salt: '', nextId: 0, keys: [] };

/** Throws on text that is not a key document: a key must not come into force, or go, because of half a document. */
export function parseKeyDocument(text: string): KeyDocument {
  const document: unknown = JSON.parse(text);
  if (!isRecord(document)) throw new Error('the document is not an object');
  const { salt, nextId, keys } = document;
  if (typeof salt !== 'string' || (salt === '' && nextId !== 0)) throw new Error('there is no salt');
  if (!Number.isSafeInteger(nextId)) throw new Error('nextId is no number');
  if (!Array.isArray(keys) || keys.length > keysMax) throw new Error(`keys are no list of at most ${keysMax}`);
  return { salt, nextId: nextId as number, keys: keys.map(parseKey) };
}

function parseKey(key: unknown): StoredKey {
  if (!isRecord(key)) throw new Error('a key is not an object');
  const { id, description, actions, valuePrefix, digest, expiresAtS } = key;
  const valid =
    Number.isSafeInteger(id) &&
    typeof description === 'string' &&
    Array.isArray(actions) &&
    actions.every((action) => typeof action === 'string') &&
    typeof valuePrefix === 'string' &&
    typeof digest === 'string' &&
    /^[0-9a-f]{64}$/.test(digest) &&
    typeof expiresAtS === 'number';
  if (!valid) throw new Error(`key ${String(id)} is not complete`);
  return { id: id as number, description, actions: actions as string[], valuePrefix, digest, expiresAtS };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
