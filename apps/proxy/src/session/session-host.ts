import type { LoggedInClient } from '../connection/client-connection.js';
import type { BackendConnection } from '../connection/backend-connection.js';
import type { ChangedUser, UserChange } from '../connection/change-user.js';
import type { Credential } from '../connection/credentials.js';
import type { SessionMeter } from '../metrics/session-meter.js';
import type { SessionState } from '../migration/session-state.js';
import type { FoundSession } from '../process/worker-protocol.js';
import type { Lease } from '../tenants/namespace.js';
import type { Session } from './session.js';

/** Why a backend's connection is gone, as far as the proxy saw. */
export interface Loss {
  /** Of the error with which the server announced it; 0: none. */
  readonly errorCode: number;
  readonly error: Error | undefined;
}

/** Of a change of the user that has gone well: the place in the namespace that is his. */
export type Changed = ChangedUser & { readonly lease?: Lease | undefined };

/** What a worker does for its sessions. One object for all of them. */
export interface SessionHost {
  /** A read whose backend died before a byte of its answer came may be sent to another one. */
  readonly retriesReads: boolean;
  /** Arms the trackers of this backend, again after a reset. Rejects when the connection is lost. */
  arm(session: Session): Promise<void>;
  /** The backend of an idle session is gone. Resolves with true if the session has another one by `swap`, with false if it has to end. */
  recover(session: Session, loss: Loss): Promise<boolean>;
  /** COM_CHANGE_USER, with the callbacks of both channels; see `changeUser`. */
  changeUser(session: Session, payload: Buffer): Promise<Changed | Exclude<UserChange, ChangedUser>>;
  /** Where a session of any worker and node is. */
  findSession(id: number): Promise<FoundSession | undefined>;
  /** Runs the statement on the backend of another session, as this session's user. Rejects with the `MysqlError` that the client is to be told. */
  killElsewhere(session: Session, victim: FoundSession, statement: string): Promise<void>;
  /** A whole session was killed at its backend: wherever it is held, it must end. */
  killed(id: number): void;
  /** Something in the session's own code failed, or a backend said what no server says; it is closed. */
  failed(session: Session, error: Error): void;
  /** Called once; nothing of the session is used any more. */
  closed(session: Session): void;
}

/** What a session begins with. */
export interface SessionStart {
  readonly id: number;
  readonly client: LoggedInClient;
  readonly backend: BackendConnection;
  /** Undefined: nothing can log this user in again. */
  readonly credential: Credential | undefined;
  readonly namespace: string;
  readonly startedAtMs: number;
  readonly state: SessionState;
  /** Whether `state` is told what passes: not, where the session could never move; then it has the database alone. */
  readonly tracked: boolean;
  /** Of its namespace; ended with the session. */
  readonly lease: Lease | undefined;
  readonly meter: SessionMeter | undefined;
}
