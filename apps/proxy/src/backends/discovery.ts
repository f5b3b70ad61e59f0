import { isIPv6 } from 'node:net';

/** A server that something says is there. */
export interface Discovered {
  readonly host: string;
  readonly port: number;
  readonly cluster: string;
  /** Names it may be called by in the fail list, beside its address: of a pod, of a host. */
  readonly names?: readonly string[];
  /** Where TiDB answers /status and /metrics. */
  readonly status?: { readonly host: string; readonly port: number };
  readonly labels?: Readonly<Record<string, string>>;
  /** It goes away by itself soon: sessions should leave now. */
  readonly leaving?: string;
}

/** Something that knows backends and keeps knowing. What it found last stays while it cannot look. */
export interface Discovery {
  /** For logs and errors: `DNS name db.example.com`. */
  readonly what: string;
  /** Calls back whenever `current` or `problem` have changed. */
  start(changed: () => void): void;
  stop(): void;
  current(): readonly Discovered[];
  /** Why what it says may be old; empty if it is not. */
  problem(): string;
  /** Whether it has looked once: before that nothing found means nothing. */
  looked(): boolean;
}

export function addressOf(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** In the order of their addresses, so that the same servers are the same list. */
export function inOrder(found: Iterable<Discovered>): Discovered[] {
  return [...found].toSorted((a, b) => (addressOf(a.host, a.port) < addressOf(b.host, b.port) ? -1 : 1));
}
