import { Capability } from '@binnacle/mysql-wire/capabilities';
import { utf8mb4GeneralCi } from '@binnacle/mysql-wire/charset';
import { Errors } from '@binnacle/mysql-wire/error-codes';
import type { Dispatcher } from 'undici';
import { dialBackend, kindOf, type BackendConnection } from '../connection/backend-connection.js';
import type { BackendTls } from '../connection/greeted-backend.js';
import { ConnectionLost, MysqlError } from '../connection/mysql-error.js';
import type { Backend, BackendGreeting } from './backend.js';
import { ownProxyHeader, probeGreeting } from './greeting-probe.js';
import { readFacts, readStoredFunctions, type ServerFacts } from './server-facts.js';
import { checkStatus } from './status-port.js';

export interface CheckOptions {
  /** For each of the steps: the status port, the greeting, the login, the questions, the stored functions. */
  readonly timeoutMs: number;
  readonly healthUser: string;
  readonly healthPassword: string;
  readonly tls: BackendTls;
  /** TLS at the status port; absent: plain HTTP. */
  readonly statusTls?: Dispatcher;
  /** Backends want a PROXY header. */
  readonly proxyHeader: boolean;
}

/** What is known from before, so that it need not be asked again. */
export interface Known {
  readonly greeting?: BackendGreeting;
  /** The stored functions are to be read now: that is done rarely. */
  readonly functionsDue: boolean;
}

/** A server that lives. */
export interface Checked {
  readonly greeting: BackendGreeting;
  readonly pingMs: number;
  /** It lives, and has no connection left. */
  readonly full: boolean;
  /** Undefined: nobody could ask. */
  readonly facts?: ServerFacts;
  /** Present if they were due and could be read. */
  readonly storedFunctions?: ReadonlySet<string>;
  /** Why less is known than could be: the health user cannot log in, say. Empty: nothing is amiss. */
  readonly notice: string;
}

const wantedCapabilities = { capabilities: Capability.transactions | Capability.multiResults, mariadbCapabilities: 0 };

/**
 * Whether sessions can be served there. Rejects with what speaks against it. Each step has a deadline of its own, so all of it takes at most
 * six times `timeoutMs`: with a second greeting where the version has changed, and with the stored functions.
 */
export async function checkHealth(backend: Backend, status: { host: string; port: number } | undefined, known: Known, options: CheckOptions): Promise<Checked> {
  const { timeoutMs } = options;
  // While TiDB shuts down gracefully, its SQL port goes on taking logins: only the status port says so.
  if (status !== undefined) await checkStatus({ ...status, timeoutMs, ...(options.statusTls !== undefined && { tls: options.statusTls }) });
  const startMs = performance.now();
  const greet = (): Promise<BackendGreeting> =>
    probeGreeting({ host: backend.host, port: backend.port, timeoutMs, proxyHeader: options.proxyHeader });
  try {
    if (options.healthUser === '') {
      const greeting = await greet();
      return { greeting, pingMs: performance.now() - startMs, full: false, notice: '' };
    }
    return await checkLoggedIn(backend, known, options, greet);
  } catch (error) {
    if (!(error instanceof MysqlError) || error.code !== Errors.tooManyConnections.code || known.greeting === undefined) throw error;
    return { greeting: known.greeting, pingMs: performance.now() - startMs, full: true, notice: '' };
  }
}

async function checkLoggedIn(backend: Backend, known: Known, options: CheckOptions, greet: () => Promise<BackendGreeting>): Promise<Checked> {
  const startMs = performance.now();
  let greeting = known.greeting ?? (await greet());
  let connection: BackendConnection;
  try {
    connection = await logIn({ ...backend, kind: kindOf(greeting.serverVersion) }, options);
  } catch (error) {
    if (!(error instanceof MysqlError) || isRefusalOfAll(error)) throw error;
    // The server lives and knows no such user; everything that has to be asked stays unknown.
    if (known.greeting !== undefined) greeting = await greet();
    return { greeting, pingMs: performance.now() - startMs, full: false, notice: `the health user cannot log in: ${error.message}` };
  }
  try {
    const pingMs = performance.now() - startMs;
    // It was restarted as another version between two checks.
    if (connection.serverVersion !== greeting.serverVersion) greeting = await greet();
    const facts = await readFacts(connection, options.timeoutMs);
    if (facts.notReady !== undefined) throw new ConnectionLost(facts.notReady);
    const storedFunctions = known.functionsDue ? await readStoredFunctions(connection, options.timeoutMs) : undefined;
    const notice = facts.refused.length === 0 ? '' : `the health user may not run ${facts.refused.join(' and ')}, so it is not known what this server replicates from`;
    return { greeting, pingMs, full: false, facts, notice, ...(storedFunctions !== undefined && { storedFunctions }) };
  } catch (error) {
    if (!(error instanceof MysqlError) || isRefusalOfAll(error)) throw error;
    return { greeting, pingMs: performance.now() - startMs, full: false, notice: `the health user cannot ask: ${error.message}` };
  } finally {
    connection.close();
  }
}

function logIn(backend: Backend, options: CheckOptions): Promise<BackendConnection> {
  const login = {
    user: options.healthUser,
    database: '',
    collation: utf8mb4GeneralCi,
    attributes: [['program_name', 'binnacle-health']] as const,
    capabilities: wantedCapabilities,
    credential: { kind: 'password', password: options.healthPassword } as const,
    tls: options.tls,
    ...(options.proxyHeader && { proxyHeader: ownProxyHeader }),
  };
  return dialBackend(backend, login, options.timeoutMs);
}

/** What no other user would be spared; 1047 is also how a Galera node refuses everything while it is not part of its cluster. */
const refusalsOfAll: ReadonlySet<number> = new Set(
  [Errors.tooManyConnections, Errors.outOfResources, Errors.hostIsBlocked, Errors.serverShutdown, Errors.unknownCommand].map(({ code }) => code),
);

function isRefusalOfAll({ code }: MysqlError): boolean {
  return refusalsOfAll.has(code);
}
