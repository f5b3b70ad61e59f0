import { createHmac, randomBytes } from 'node:crypto';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { column, eof, err, frame, greeting, isNativeReply, ok, parseLogin, peerCapability, PeerFrames, resultSet, type PeerLogin } from './peer-packets.js';

export interface ScriptedTidbOptions {
  /** Password of every user who may come. Default: `{ root: 'root' }`. */
  readonly users?: Readonly<Record<string, string>>;
  /** Stands for the certificate that the servers of a cluster share. Undefined: none is configured, so there is no token. Default: the same for all. */
  readonly signingSecret?: string | undefined;
  readonly port?: number;
  readonly statusPort?: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What TiDB 8 offers in its greeting without TLS: no SESSION_TRACK, no PLUGIN_AUTH_LENENC (which it understands nevertheless), no compression here. */
export const tidbCapabilities = 1 | 2 | 4 | 8 | 128 | 512 | 1024 | 8192 | 32_768 | 65_536 | 131_072 | (1 << 19) | (1 << 20) | (1 << 24);
export const tidbVersion = '8.0.11-TiDB-v8.5.1';
const nativePassword = 'mysql_native_password';
const sessionToken = 'tidb_session_token';
const tokenLifetimeMs = 60_000;
const cannotMigrate = 8146;

/** What moves: in the real server's names. */
interface States {
  'current-db': string;
  'user-var-values': Record<string, string>;
  'prepared-stmts': Record<string, string>;
}

/** One command as it came: `connection` counts from 1 on this server. */
export interface ReceivedCommand {
  readonly connection: number;
  readonly command: number;
  /** The text of a query, else the rest of the payload as hexadecimal digits. */
  readonly text: string;
}

/**
 * A server that behaves like TiDB where moving sessions is concerned, and writes down what it is told. It knows: `SHOW SESSION_STATES`, `SET SESSION_STATES`,
 * logins by password and by token, BEGIN/COMMIT, `SET @a = 'text'`, `SELECT @a`, `SELECT DATABASE()`, `SELECT CONNECTION_ID()`, USE, KILL, `CREATE TEMPORARY TABLE`, GET_LOCK,
 * statements prepared by the protocol without parameters (their one row is their own text), ping, reset; every other statement gets OK.
 */
export async function startScriptedTidb(options: ScriptedTidbOptions = {}): Promise<ScriptedTidb> {
  const tidb = new ScriptedTidb(options);
  await tidb.start();
  return tidb;
}

export class ScriptedTidb {
  readonly logins: PeerLogin[] = [];
  readonly received: ReceivedCommand[] = [];
  /** Answers 500 on `/status`, as a real one that waits for its connections before it stops. */
  shuttingDown = false;
  /** Refuses `SET SESSION_STATES` with this text: the session it was for must stay where it is. */
  refuseStates: string | undefined;
  /** Statements get no answer while this is set. */
  silent = false;
  metricsText = 'process_cpu_seconds_total 1\ntidb_server_maxprocs 4\nprocess_resident_memory_bytes 1e+08\ntidb_server_memory_quota_bytes 1e+10\n';
  readonly labels: Readonly<Record<string, string>>;
  readonly #users: Readonly<Record<string, string>>;
  readonly #secret: string | undefined;
  readonly #sessions = new Map<number, ScriptedSession>();
  #server: Server | undefined;
  #status: HttpServer | undefined;
  #connections = 0;
  #port: number;
  #statusPort: number;

  constructor(options: ScriptedTidbOptions) {
    this.#users = options.users ?? { root: 'root' };
    this.#secret = 'signingSecret' in options ? options.signingSecret : 'shared certificate';
    this.#port = options.port ?? 0;
    this.#statusPort = options.statusPort ?? 0;
    this.labels = options.labels ?? {};
  }

  get port(): number {
    return this.#port;
  }

  get statusPort(): number {
    return this.#statusPort;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Connections that are logged in now. */
  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Texts of the queries of all connections. */
  get queries(): string[] {
    return this.received.filter(({ command }) => command === 3).map(({ text }) => text);
  }

  /** Also after `kill9`, on the same ports. */
  async start(): Promise<void> {
    this.#server = createServer((socket) => new ScriptedSession(this, socket, ++this.#connections).greet());
    this.#server.listen(this.#port, '127.0.0.1');
    this.#status = createHttpServer((request, response) => {
      const [status, body] = this.#answer(request.url ?? '');
      response.writeHead(status).end(body);
    }).listen(this.#statusPort, '127.0.0.1');
    await Promise.all([once(this.#server, 'listening'), once(this.#status, 'listening')]);
    this.#port = (this.#server.address() as AddressInfo).port;
    this.#statusPort = (this.#status.address() as AddressInfo).port;
  }

  #answer(path: string): [number, string] {
    if (path === '/status') return [this.shuttingDown ? 500 : 200, JSON.stringify({ connections: this.#sessions.size, version: tidbVersion, git_hash: '0' })];
    if (path === '/config') return [200, JSON.stringify({ security: { 'session-token-signing-cert': this.#secret === undefined ? '' : '/cert.pem' } })];
    return path === '/metrics' ? [200, this.metricsText] : [404, ''];
  }

  /** Every connection breaks off at once and nobody listens any more. */
  async kill9(): Promise<void> {
    const [server, status] = [this.#server, this.#status];
    for (const session of this.#sessions.values()) session.destroy();
    status?.closeAllConnections();
    await Promise.all([server, status].map((one) => one && new Promise((resolve) => one.close(resolve))));
    this.#server = this.#status = undefined;
  }

  async stop(): Promise<void> {
    await this.kill9();
  }

  /** Undefined where no certificate is configured. */
  token(user: string): string | undefined {
    const now = Date.now();
    const token = { username: user, 'sign-time': new Date(now).toISOString(), 'expire-time': new Date(now + tokenLifetimeMs).toISOString() };
    return this.#secret === undefined ? undefined : JSON.stringify({ ...token, signature: this.#sign(JSON.stringify(token)) });
  }

  /** As long as the signature of a real certificate: the token does not fit into a reply of 255 bytes. */
  #sign(text: string): string {
    return createHmac('sha512', this.#secret ?? '').update(text).digest('hex').repeat(5);
  }

  /** The error of a login, or undefined. */
  checkLogin(login: PeerLogin, scramble: Buffer): Buffer | undefined {
    const password = this.#users[login.user];
    const denied = err(1045, '28000', `Access denied for user '${login.user}'@'127.0.0.1' (using password: ${login.reply.length > 0 ? 'YES' : 'NO'})`);
    if (login.plugin !== sessionToken) return password !== undefined && isNativeReply(login.reply, scramble, password) ? undefined : denied;
    try {
      const { signature, ...token } = JSON.parse(login.reply.toString()) as Record<string, string>;
      const valid = this.#secret !== undefined && signature === this.#sign(JSON.stringify(token)) && Date.parse(token['expire-time']!) > Date.now();
      return valid && token['username'] === login.user ? undefined : denied;
    } catch {
      return denied;
    }
  }

  enter(session: ScriptedSession): void {
    this.#sessions.set(session.id, session);
  }

  leave(session: ScriptedSession): void {
    this.#sessions.delete(session.id);
  }

  kill(id: number): boolean {
    const victim = this.#sessions.get(id);
    victim?.destroy();
    return victim !== undefined;
  }
}

class ScriptedSession {
  readonly id: number;
  readonly #tidb: ScriptedTidb;
  readonly #socket: Socket;
  readonly #scramble = Buffer.from(randomBytes(20).map((byte) => 1 + (byte % 100)));
  #login: PeerLogin | undefined;
  /** Came with another plugin than the account has, and was asked for the right one. */
  #asked: PeerLogin | undefined;
  #states: States = { 'current-db': '', 'user-var-values': {}, 'prepared-stmts': {} };
  #inTransaction = false;
  /** Why the session cannot move, besides a transaction. */
  #keeps: string | undefined;
  #nextStatement = 1;

  constructor(tidb: ScriptedTidb, socket: Socket, id: number) {
    this.#tidb = tidb;
    this.#socket = socket;
    this.id = id;
    const frames = new PeerFrames();
    socket.on('data', (chunk: Buffer) => {
      for (const { sequenceId, payload } of frames.push(chunk)) this.#receive(payload, sequenceId + 1);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => tidb.leave(this));
  }

  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  greet(): void {
    this.#send([greeting(tidbVersion, this.id, tidbCapabilities, this.#scramble)], 0);
  }

  #send(payloads: readonly Buffer[], sequenceId: number): void {
    this.#socket.write(Buffer.concat(payloads.map((payload, index) => frame(payload, sequenceId + index))));
  }

  get #status(): number {
    return 2 | (this.#inTransaction ? 1 : 0);
  }

  #receive(payload: Buffer, sequenceId: number): void {
    if (this.#login === undefined) return this.#logIn(this.#asked === undefined ? parseLogin(payload) : { ...this.#asked, plugin: nativePassword, reply: payload }, sequenceId);
    const command = payload[0]!;
    const text = command === 3 || command === 0x16 || command === 2 ? payload.toString('utf8', 1) : payload.toString('hex', 1);
    this.#tidb.received.push({ connection: this.id, command, text });
    if (command === 1) return void this.#socket.end();
    if (command === 0x19) return void delete this.#states['prepared-stmts'][payload.readUInt32LE(1)];
    if (this.#tidb.silent) return;
    this.#send(this.#answer(command, payload, text), sequenceId);
  }

  #logIn(login: PeerLogin, sequenceId: number): void {
    if (login.plugin !== nativePassword && login.plugin !== sessionToken) {
      this.#asked = login;
      return this.#send([Buffer.concat([Buffer.from(`\xfe${nativePassword}\0`, 'latin1'), this.#scramble, Buffer.from([0])])], sequenceId);
    }
    this.#tidb.logins.push(login);
    const refusal = this.#tidb.checkLogin(login, this.#scramble);
    if (refusal !== undefined) return void this.#socket.end(frame(refusal, sequenceId));
    this.#login = login;
    this.#states['current-db'] = login.database;
    this.#tidb.enter(this);
    this.#send([ok(this.#status)], sequenceId);
  }

  #answer(command: number, payload: Buffer, text: string): Buffer[] {
    if (command === 3) return this.#query(text);
    if (command === 2) this.#states['current-db'] = text;
    if (command === 0x1f) {
      this.#states = { 'current-db': this.#states['current-db'], 'user-var-values': {}, 'prepared-stmts': {} };
      this.#inTransaction = false;
      this.#keeps = undefined;
    }
    if (command === 0x16) {
      const id = this.#nextStatement++;
      this.#states['prepared-stmts'][id] = text;
      const head = Buffer.from([0, id & 0xff, id >>> 8, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      return [head, column('text'), ...(this.#deprecatesEof ? [] : [eof(this.#status)])];
    }
    if (command === 0x17) {
      const statement = this.#states['prepared-stmts'][payload.readUInt32LE(1)];
      return statement === undefined ? [err(8111, 'HY000', 'Prepared statement not found')] : this.#rows(['text'], [[statement]], true);
    }
    return [ok(this.#status)];
  }

  get #deprecatesEof(): boolean {
    return (this.#login!.capabilities & peerCapability.deprecateEof) !== 0;
  }

  #rows(names: readonly string[], rows: readonly (readonly (string | null)[])[], binary = false): Buffer[] {
    return resultSet(names, rows, this.#status, this.#deprecatesEof, binary);
  }

  #query(sql: string): Buffer[] {
    if (/^show session_states$/i.test(sql)) return this.#showStates();
    const states = /^set session_states '(.*)'$/is.exec(sql)?.[1];
    if (states !== undefined) return this.#setStates(states);
    if (/^(begin|start transaction)/i.test(sql)) this.#inTransaction = true;
    else if (/^(commit|rollback)/i.test(sql)) this.#inTransaction = false;
    else if (/^create temporary table/i.test(sql)) this.#keeps = 'session has local temporary tables';
    else if (/^select get_lock/i.test(sql)) this.#keeps = 'session has advisory locks';
    else if (/^(drop temporary table|select release_lock)/i.test(sql)) this.#keeps = undefined;
    const [, variable, value] = /^set @(\w+) *= *'(.*)'$/is.exec(sql) ?? [];
    if (variable !== undefined) this.#states['user-var-values'][variable] = unescaped(value!);
    const database = /^use `?(\w+)`?$/i.exec(sql)?.[1];
    if (database !== undefined) this.#states['current-db'] = database;
    const victim = /^kill (?:tidb )?(?:query |connection )?(\d+)$/i.exec(sql)?.[1];
    if (victim !== undefined && !this.#tidb.kill(Number(victim))) return [err(1094, 'HY000', `Unknown thread id: ${victim}`)];
    const asked = /^select @(\w+)$/i.exec(sql)?.[1];
    if (asked !== undefined) return this.#rows([`@${asked}`], [[this.#states['user-var-values'][asked] ?? null]]);
    if (/^select database\(\)$/i.test(sql)) return this.#rows(['database()'], [[this.#states['current-db'] || null]]);
    if (/^select connection_id\(\)$/i.test(sql)) return this.#rows(['connection_id()'], [[String(this.id)]]);
    return [ok(this.#status)];
  }

  #showStates(): Buffer[] {
    const reason = this.#inTransaction ? 'session has an active transaction' : this.#keeps;
    if (reason !== undefined) return [err(cannotMigrate, 'HY000', `cannot migrate the current session: ${reason}`)];
    return this.#rows(['Session_states', 'Session_token'], [[JSON.stringify(this.#states), this.#tidb.token(this.#login!.user) ?? null]]);
  }

  #setStates(literal: string): Buffer[] {
    const { refuseStates } = this.#tidb;
    if (refuseStates !== undefined) return [err(cannotMigrate, 'HY000', `cannot migrate the current session: ${refuseStates}`)];
    try {
      this.#states = JSON.parse(unescaped(literal)) as States;
    } catch {
      return [err(1105, 'HY000', 'invalid character in the session states')];
    }
    this.#nextStatement = 1 + Math.max(0, ...Object.keys(this.#states['prepared-stmts']).map(Number));
    return [ok(this.#status)];
  }
}

/** Of a string literal in single quotes. */
function unescaped(literal: string): string {
  const letters: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '0': '\0', Z: '\x1a', b: '\b' };
  return literal.replace(/\\(.)|''/gs, (_, letter: string | undefined) => (letter === undefined ? "'" : (letters[letter] ?? letter)));
}
