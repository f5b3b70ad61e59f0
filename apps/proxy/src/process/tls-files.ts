import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { Clock } from '@binnacle/cluster-state/clock';
import { ConfigError } from '@binnacle/node-kit/config-error';
import type { TlsConfig } from '@binnacle/node-kit/proxy-config';
import type { Logger } from 'pino';

/** New certificates count this long after their files have changed, at the latest. */
const lookAgainMs = 10_000;

/** What the files of a section of `[security]` hold: those that are named. */
function tlsMaterial({ cert, key, ca, minTlsVersion }: TlsConfig): SecureContextOptions {
  const read = (file: string): Buffer => readFileSync(file);
  return {
    ...(cert !== '' && { cert: read(cert) }),
    ...(key !== '' && { key: read(key) }),
    ...(ca !== '' && { ca: read(ca) }),
    minVersion: minTlsVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
  };
}

/**
 * The TLS context of one section, current without a restart: they are looked at again when asked for, every 10 s at most. Files
 * that do not fit together leave the last good ones in effect.
 */
export class TlsFiles {
  #lookedAtMs = -Infinity;
  #stamp = '';
  #material: SecureContextOptions = {};
  #context: SecureContext | undefined;

  constructor(
    private readonly section: string,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /** Undefined when the files were never good. */
  context(config: TlsConfig): SecureContext | undefined {
    this.#look(config);
    return this.#context;
  }

  /** What the files hold, for who makes contexts of their own: the same object until one of them changes. */
  material(config: TlsConfig): SecureContextOptions {
    this.#look(config);
    return this.#material;
  }

  /** Throws `ConfigError` on files that cannot be used: at the start a typing error must not pass as "no TLS". */
  check(config: TlsConfig): void {
    try {
      this.#load(config);
    } catch (error) {
      throw new ConfigError([`the files of security.${this.section} cannot be used: ${(error as Error).message}`]);
    }
  }

  #look(config: TlsConfig): void {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < lookAgainMs) return;
    this.#lookedAtMs = nowMs;
    try {
      if (stampOf(config) !== this.#stamp) this.#load(config);
    } catch (error) {
      this.log.error({ err: error }, `the files of security.${this.section} cannot be used: the last good ones stay in effect`);
    }
  }

  #load(config: TlsConfig): void {
    const stamp = stampOf(config);
    const material = tlsMaterial(config);
    this.#context = createSecureContext(material);
    this.#material = material;
    this.#stamp = stamp;
  }
}

/** Changes whenever one of the files does. */
function stampOf({ cert, key, ca, minTlsVersion }: TlsConfig): string {
  const files = [cert, key, ca].map((file) => (file === '' ? '' : `${file} ${statSync(file).mtimeMs} ${statSync(file).size}`));
  return [...files, minTlsVersion].join('\n');
}
