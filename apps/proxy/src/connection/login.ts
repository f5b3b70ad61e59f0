import type { Backend } from '../backends/backend.js';
import type { BackendConnection } from './backend-connection.js';
import type { ClientConnection, LoggedInClient } from './client-connection.js';
import type { Credential, Credentials } from './credentials.js';
import type { BackendDial } from './greeted-backend.js';

export interface LoginOptions extends BackendDial {
  readonly credentials: Credentials;
  /** For the connection to the backend and all rounds together. */
  readonly timeoutMs: number;
}

export interface Login {
  readonly client: LoggedInClient;
  readonly backend: BackendConnection;
  /** What can log this user in again elsewhere; undefined: nothing can. */
  readonly credential: Credential | undefined;
}

/** A login that failed. */
export class LoginError extends Error {
  override readonly name = 'LoginError';
  constructor(
    message: string,
    /** What the client is told. */
    readonly error: { readonly code: number; readonly sqlState: string; readonly message: string },
    /** Nothing was said to the client: another backend may be tried with the same one, or `refuse` be called. Otherwise it has been told and closed. */
    readonly retryable: boolean,
  ) {
    super(message);
  }
}

/** Logs the client in at the backend. Rejects with `LoginError` only. */
export function login(_client: ClientConnection, _backend: Backend, _options: LoginOptions): Promise<Login> {
  return Promise.reject(new Error('nobody can log in yet'));
}

export interface ChangedUser {
  readonly user: string;
  readonly database: string;
  /** 0: not said, the server's own. */
  readonly collation: number;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  readonly credential: Credential | undefined;
}

/**
 * COM_CHANGE_USER, `payload` with its code, at a command boundary of both sides: takes the callbacks of both channels for its rounds and gives them back.
 * The client has its answer afterwards, OK or ERR. Resolves with undefined after an ERR of the server; rejects when one side is gone or broken.
 */
export function changeUser(
  _client: LoggedInClient,
  _backend: BackendConnection,
  _payload: Buffer,
  _options: { readonly credentials: Credentials; readonly timeoutMs: number },
): Promise<ChangedUser | undefined> {
  return Promise.reject(new Error('nobody can change the user yet'));
}
