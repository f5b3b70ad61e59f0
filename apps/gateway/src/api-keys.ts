import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Inject, Injectable } from '@nestjs/common';
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { assertSafeBind } from './bind-rules.js';
import { emptyKeyDocument, keysMax, parseKeyDocument, type KeyDocument, type StoredKey } from './key-document.js';
import type { NewKey } from './new-key.js';

/** What a presented key stands for. */
export type KeyVerdict =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'expired' }
  | { readonly kind: 'valid'; readonly actions: readonly string[] };

const documentKey = 'api-keys';
const retryMs = 1_000;

interface KnownKey {
  readonly digest: Buffer;
  readonly actions: readonly string[];
  readonly expiresAtMs: number;
}

/**
 * The API keys: the bootstrap key of the configuration, and those made with `POST /keys`, kept in cluster state as salted SHA-256.
 *
 * Not scrypt or another slow hash: those make guessing dear where people choose the secret. These keys are random, 32 characters and
 * more, beyond guessing by any hash, and a slow one would cost tens of milliseconds of every request. The salt keeps tables made for
 * other clusters from fitting here. It is one for all keys, so that a request costs one hash however many keys there are.
 */
@Injectable()
export class ApiKeys {
  readonly #document: WatchedDocument<KeyDocument>;
  readonly #bootstrapKey: string;
  /** Salts the bootstrap key's digest as long as no key was ever stored. */
  readonly #ownSalt = randomBytes(16).toString('hex');
  #salt = this.#ownSalt;
  #known: readonly KnownKey[] = [];
  #loaded = false;
  /** The document had keys and is gone: somebody's Redis lost its memory. That must not open a gateway. */
  #lost = false;
  #cancelRetry: () => void = () => {};

  constructor(@Inject(NodeContext) private readonly node: Pick<NodeContext, 'state' | 'clock' | 'config' | 'log' | 'addPart'>) {
    this.#bootstrapKey = node.config.gateway.apiKey;
    this.#document = new WatchedDocument(node.state, node.clock, {
      key: documentKey,
      initial: emptyKeyDocument,
      parse: parseKeyDocument,
      onInvalid: (error) => node.log.error({ err: error }, 'the stored API keys are damaged; the last good ones stay in force'),
    });
    this.#document.onChange((document) => this.#take(document));
    this.#take(emptyKeyDocument);
    node.addPart({
      name: 'api keys',
      check: async () => assertSafeBind(node.config.gateway, await this.#readCount()),
      start: async () => {
        await this.#document.start();
        await this.#load();
      },
      stop: async () => {
        this.#cancelRetry();
        this.#document.stop();
      },
    });
  }

  /** Whether there is any key at all, expired ones included: a gateway must not open up because its last key ran out. */
  any(): boolean {
    return this.#known.length > 0 || this.#lost;
  }

  storedCount(): number {
    return this.#document.value().keys.length;
  }

  /**
   * False until the stored keys have been read once. A gateway that starts while cluster state is away does not know whether it has
   * keys, and must not let everybody in meanwhile.
   */
  loaded(): boolean {
    return this.#loaded;
  }

  /** What the key allows. Takes the same time whichever key matches, or none: every digest is compared, each in constant time. */
  verdict(value: string): KeyVerdict {
    const digest = digestOf(this.#salt, value);
    let match: KnownKey | undefined;
    for (const known of this.#known) if (timingSafeEqual(known.digest, digest)) match = known;
    if (match === undefined) return { kind: 'unknown' };
    return this.node.clock.nowMs() < match.expiresAtMs ? { kind: 'valid', actions: match.actions } : { kind: 'expired' };
  }

  list(): readonly StoredKey[] {
    return this.#document.value().keys;
  }

  /** Throws NOT_FOUND. */
  get(id: number): StoredKey {
    const key = this.list().find((each) => each.id === id);
    if (key === undefined) throw new BinnacleError('NOT_FOUND', 'Not found.');
    return key;
  }

  /** Keeps a new key and returns it with its value, which nobody can show again. Throws CONFLICT. */
  async create(request: NewKey): Promise<{ key: StoredKey; value: string }> {
    const value = request.value ?? randomBytes(32).toString('base64url');
    // The state would hold it as a key of fewer scopes, and which of the two counts would be a matter of order.
    if (value === this.#bootstrapKey) throw new BinnacleError('CONFLICT', 'API key generation conflict.');
    let created: StoredKey | undefined;
    const document = await this.#document.update((current) => {
      if (current.keys.length >= keysMax) throw new BinnacleError('CONFLICT', `There are ${keysMax} API keys already: delete one first.`);
      const salt = current.salt === '' ? randomBytes(16).toString('hex') : current.salt;
      const digest = digestOf(salt, value).toString('latin1');
      if (current.keys.some((each) => each.digest === digest)) throw new BinnacleError('CONFLICT', 'API key generation conflict.');
      created = {
        id: current.nextId,
        description: request.description ?? '',
        actions: request.actions,
        valuePrefix: value.slice(0, 4),
        digest,
        expiresAtS: request.expires_at ?? farFutureS,
      };
      return { salt, nextId: current.nextId + 1, keys: [...current.keys, created] };
    });
    this.#take(document);
    const { id, actions } = created as StoredKey;
    this.node.log.info({ id, actions }, 'API key made');
    return { key: created as StoredKey, value };
  }

  /** Throws NOT_FOUND. Every gateway refuses the key within a second. */
  async remove(id: number): Promise<void> {
    const document = await this.#document.update((current) => {
      const keys = current.keys.filter((each) => each.id !== id);
      if (keys.length === current.keys.length) throw new BinnacleError('NOT_FOUND', 'Not found.');
      return { ...current, keys };
    });
    this.#take(document);
    this.node.log.info({ id }, 'API key revoked');
  }

  /** Of the stored keys, before the document is followed; none while cluster state is away. */
  async #readCount(): Promise<number> {
    try {
      const { document } = await this.node.state.readDocument(documentKey);
      return document === undefined ? 0 : parseKeyDocument(document.value).keys.length;
    } catch {
      return 0;
    }
  }

  /** The watched document starts without its store, too, and does not tell the difference; whether there are keys must be known. */
  async #load(): Promise<void> {
    try {
      const { document } = await this.node.state.readDocument(documentKey);
      const watched = this.#document.version() > 0 || document === undefined;
      this.#take(watched ? this.#document.value() : parseKeyDocument(document.value));
      this.#loaded = true;
    } catch {
      this.#cancelRetry = this.node.clock.after(retryMs, () => void this.#load());
    }
  }

  #take(document: KeyDocument): void {
    const isGone = document === emptyKeyDocument;
    this.#lost = isGone && (this.#lost || this.#salt !== this.#ownSalt);
    this.#salt = document.salt === '' ? this.#ownSalt : document.salt;
    const stored = document.keys.map((key) => ({
      digest: Buffer.from(key.digest, 'latin1'),
      actions: key.actions,
      expiresAtMs: key.expiresAtS * 1_000,
    }));
    const bootstrap = { digest: digestOf(this.#salt, this.#bootstrapKey), actions: ['*'], expiresAtMs: Infinity };
    this.#known = this.#bootstrapKey === '' ? stored : [bootstrap, ...stored];
  }
}

/** The year 4021: what Typesense says of a key that does not expire. */
const farFutureS = 64_723_363_199;

/** Hexadecimal as bytes: hashing to text is three times as fast as to a buffer, and it is compared as it is stored. */
function digestOf(salt: string, value: string): Buffer {
  return Buffer.from(hash('sha256', salt + value, 'hex'), 'latin1');
}
