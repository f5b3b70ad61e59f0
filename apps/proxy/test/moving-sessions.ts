import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { startMariadb, type MariadbServer } from '@binnacle/testing/mariadb-server';
import { dialBackend, type BackendConnection } from '../src/connection/backend-connection.js';
import { MysqlError } from '../src/connection/mysql-error.js';
import { armTrackers } from '../src/migration/arm-trackers.js';
import { migrate, type MigrationDeps, type MoveResult } from '../src/migration/migrate.js';
import { StoredCodeSurveys } from '../src/migration/stored-code.js';
import type { Loss } from '../src/session/session-host.js';
import type { Session } from '../src/session/session.js';
import { backendAt, RelayedSessions } from './relayed-sessions.js';

export const timeoutMs = 4_000;

const tables = [
  'CREATE TABLE test.t (a INT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(20))', 'CREATE DATABASE other', 'CREATE TABLE other.t (a INT, b INT, c INT)', "CREATE ROLE auditor; GRANT auditor TO root@'127.0.0.1'",
  'CREATE PROCEDURE test.p() SET @inside = 1', 'CREATE FUNCTION test.f() RETURNS INT DETERMINISTIC RETURN 1', 'CREATE SEQUENCE test.s',
];

const account = { user: 'root', collation: 45, attributes: undefined, credential: { kind: 'password', password: 'root' }, tls: { mode: 'off', verify: false } } as const;
const capabilities = { capabilities: Capability.multiStatements | Capability.multiResults | Capability.psMultiResults, mariadbCapabilities: 0 };

/** Logs in past every proxy, or through one: a client of which tests can ask everything. */
export const connect = (port: number, user = 'root'): Promise<BackendConnection> => dialBackend(backendAt(port), { ...account, user, credential: { kind: 'password', password: user }, database: '', capabilities }, timeoutMs);

/** A server, another one that follows it and takes writes too, and sessions that may move from the first to the second. */
export class MovingSessions {
  readonly relay: RelayedSessions;
  port = 0;
  /** See `RelayedOptions`. */
  recover: (session: Session, loss: Loss) => Promise<boolean> = () => Promise.resolve(false);

  readonly deps: MigrationDeps = {
    dial: ({ client }, backend, { credential, database }, dialMs) => dialBackend(backend, { ...account, user: client.user, database, collation: client.collation, credential, capabilities: client.capabilities }, dialMs),
    mayMove: () => true,
    timeouts: { dialMs: timeoutMs, holdMs: 300, answerMs: timeoutMs, causalityMs: timeoutMs },
    surveys: new StoredCodeSurveys(() => performance.now()),
    trustStoredCode: false,
  };

  private constructor(
    readonly source: MariadbServer,
    readonly target: MariadbServer,
  ) {
    this.relay = new RelayedSessions(source.port, {
      tracked: true,
      adds: Capability.sessionTrack | Capability.deprecateEof,
      arm: (session) => armTrackers(session.backend, session.state, timeoutMs),
      recover: (session, loss) => this.recover(session, loss),
    });
  }

  static async start(): Promise<MovingSessions> {
    const source = await startMariadb();
    const target = await startMariadb({ replicaOf: source });
    for (const text of tables) await source.sql(text);
    const moving = new MovingSessions(source, target);
    moving.port = await moving.relay.listen();
    return moving;
  }

  async stop(): Promise<void> {
    await this.relay.close();
    await this.target.stop();
    await this.source.stop();
  }

  async proxied(): Promise<{ client: BackendConnection; session: Session }> {
    const client = await connect(this.port);
    return { client, session: [...this.relay.sessions.values()].at(-1)! };
  }

  move(session: Session, deps: Partial<MigrationDeps> = {}): Promise<MoveResult> {
    return migrate(session, backendAt(this.target.port), { ...this.deps, ...deps });
  }

  async emptied(): Promise<void> {
    await this.source.sql('TRUNCATE test.t');
  }
}

/** Names and values of columns, or errors, of one statement after the other. */
export async function answers(client: BackendConnection, texts: readonly string[]): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const text of texts) {
    const { rows, columns } = await client.query(text, timeoutMs).catch((error: unknown) => {
      if (!(error instanceof MysqlError)) throw error;
      return { rows: [[Buffer.from(`${error.code} ${error.message}`)]], columns: [] };
    });
    all.push([columns, rows.map((row) => row.map((value) => value?.toString('latin1')))]);
  }
  return all;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export async function prepare(client: BackendConnection, text: string): Promise<number> {
  const { statement } = await client.command(Buffer.concat([Buffer.from([Command.stmtPrepare]), Buffer.from(text)]), timeoutMs);
  return statement!.id;
}

/** With one parameter, or none. */
export function executePayload(id: number, types: Buffer | undefined, values: Buffer, parameters = 1, flags = 0): Buffer {
  const bound = parameters === 0 ? [] : [Buffer.from([0, types === undefined ? 0 : 1]), types ?? Buffer.alloc(0), values];
  return Buffer.concat([Buffer.from([Command.stmtExecute]), u32(id), Buffer.from([flags]), u32(1), ...bound]);
}

export async function execute(client: BackendConnection, id: number, types: Buffer | undefined, values: Buffer, parameters = 1): Promise<void> {
  await client.command(executePayload(id, types, values, parameters), timeoutMs);
}
