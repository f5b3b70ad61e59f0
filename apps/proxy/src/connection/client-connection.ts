import type { SecureContext } from 'node:tls';
import type { Capabilities } from '@binnacle/mysql-wire/capabilities';
import type { BackendGreeting } from '../backends/backend.js';
import type { ByteChannel } from './byte-channel.js';

/** What is left of a client's login once it is done. */
export interface LoggedInClient {
  /** Decrypted and decompressed; paused, and its callbacks nobody's, until a session takes it over. */
  readonly channel: ByteChannel;
  /** Agreed upon with the client, compression and TLS left out. */
  readonly capabilities: Capabilities;
  readonly user: string;
  readonly database: string;
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  /** Of the client itself, as the PROXY header says. */
  readonly address: string;
  readonly remotePort: number;
  /** Of our listener. */
  readonly port: number;
  readonly tls: boolean;
  /** Bytes already read behind the login. */
  readonly rest: Buffer;
}

export interface ClientOptions {
  /** Thread id in the greeting. */
  readonly connectionId: number;
  /** What the best backend greets with. */
  readonly greeting: BackendGreeting;
  /** Absent: TLS is not offered. */
  readonly tls?: { readonly context: SecureContext; readonly required: boolean; readonly requestCertificate: boolean };
  /** A PROXY header, version 2, comes before everything else. */
  readonly proxyProtocol: boolean;
  /** For everything until the handshake response is here. */
  readonly timeoutMs: number;
}

/** A client that has been greeted and has answered, before it is known whether it may come in. */
export interface ClientConnection {
  readonly user: string;
  /** Empty: none. */
  readonly database: string;
  readonly capabilities: Capabilities;
  readonly address: string;
  readonly remotePort: number;
  readonly port: number;
  readonly tls: boolean;
  /** Whether the client has gone meanwhile. */
  readonly closed: boolean;
  /** Says the error and closes. */
  refuse(error: { readonly code: number; readonly sqlState: string; readonly message: string }): void;
}

/** Reads and answers until the client's handshake response is here. Rejects when it is refused, has gone or takes too long: it has been told and closed then. */
export function acceptClient(_channel: ByteChannel, _options: ClientOptions): Promise<ClientConnection> {
  return Promise.reject(new Error('no client can log in yet'));
}
