import { expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { statementDigest } from '@binnacle/mysql-wire/digest';
import { column, eof, err, frame, ok } from '@binnacle/testing/peer-packets';
import { FakeClock } from '@binnacle/testing/fake-clock';
import { waitUntil } from '@binnacle/testing/wait-until';
import { MysqlError } from '../src/connection/mysql-error.js';
import { sessionIdMin } from '../src/process/session-ids.js';
import { defaultNamespace, noLimits } from '../src/tenants/namespace-document.js';
import { Namespace, type Lease } from '../src/tenants/namespace.js';
import { bareSessions, classic, modern, Received } from './bare-session.js';
import { command, packets, prepared, query, result, u32 } from './packet-texts.js';

const session = bareSessions();

const always = (): boolean => true;
const okPacket = packets([ok(2)]);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

// ---- Having the backend for oneself.

test('who holds a session at a boundary has its backend; what the client sends meanwhile goes on afterwards', async () => {
  const { bare, fromSession, atServer } = await session();
  await bare.session.hold(1_000, always);
  expect(bare.session.phase).toBe('moving');
  bare.client.write(query('SELECT 1'));
  const asked = bare.session.backend.query('SELECT 2', 1_000);
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(packets(result));
  expect((await asked).rows).toHaveLength(1);
  expect([fromSession.bytes.length, atServer.bytes.length]).toEqual([0, 0]);
  bare.session.resume();
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(packets(result));
  await fromSession.exactly(packets(result));
});

test('a session is held only where the test says so, and at a boundary', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('COMMIT'));
  await atServer.exactly(query('COMMIT'));
  let allowed = false;
  const held = bare.session.hold(10_000, () => allowed);
  bare.server.write(okPacket);
  await fromSession.exactly(okPacket);
  expect(bare.session.phase).toBe('idle');
  allowed = true;
  // At a boundary too, before the next command goes on.
  bare.client.write(query('SELECT 1'));
  await held;
  expect(atServer.bytes).toHaveLength(0);
  bare.session.resume();
  await atServer.exactly(query('SELECT 1'));
});

test('commands sent ahead do not go past somebody who waits for a boundary', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('SELECT 1'));
  await atServer.exactly(query('SELECT 1'));
  const held = bare.session.hold(10_000, always);
  bare.client.write(Buffer.concat([query('SELECT 2'), query('SELECT 3').subarray(0, 2)]));
  await waitUntil(() => bare.session.commands.stopped);
  bare.server.write(okPacket);
  await held;
  await fromSession.exactly(okPacket);
  expect(atServer.bytes).toHaveLength(0);
  const next = await bare.backend();
  const atNext = new Received(next.server);
  bare.session.swap(next.connection, new Map());
  bare.client.write(query('SELECT 3').subarray(2));
  await atNext.exactly(Buffer.concat([query('SELECT 2'), query('SELECT 3')]));
  await atServer.end();
  expect(atServer.bytes).toEqual(frame(Buffer.from([Command.quit]), 0));
  next.server.write(Buffer.concat([okPacket, okPacket]));
  await fromSession.exactly(Buffer.concat([okPacket, okPacket]));
});

test('who waits for a boundary in vain is told at his deadline, and nothing has changed', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('SELECT SLEEP(100)'));
  await atServer.exactly(query('SELECT SLEEP(100)'));
  const held = bare.session.hold(20, always);
  bare.client.write(query('SELECT 2'));
  await expect(held).rejects.toThrow('busy');
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(Buffer.concat([okPacket, okPacket]));
  await fromSession.exactly(Buffer.concat([okPacket, okPacket]));
});

test('a client that leaves while its session is held: the backend found for it is not left open', async () => {
  const { bare } = await session();
  await bare.session.hold(1_000, always);
  const next = await bare.backend();
  const atNext = new Received(next.server);
  bare.client.resetAndDestroy();
  // Nobody reads from a client that is kept waiting, so what it did is seen once something is to be done.
  bare.session.swap(next.connection, new Map());
  await atNext.end();
  await waitUntil(() => bare.ended);
});

test('a backend that is lost while its session is held is noticed afterwards', async () => {
  const { bare, fromSession } = await session();
  await bare.session.hold(1_000, always);
  bare.server.resetAndDestroy();
  const asked = bare.session.backend.query('SELECT 1', 1_000);
  await expect(asked).rejects.toThrow();
  bare.session.resume();
  await fromSession.end();
  expect(bare.ended).toBe(true);
});

test('trackers are armed again behind COM_RESET_CONNECTION, before what was sent behind it', async () => {
  const { bare, fromSession, atServer } = await session(modern, { tracked: true });
  bare.onArm = async (armed) => void (await armed.backend.query('SET armed', 1_000));
  bare.client.write(Buffer.concat([command(Command.resetConnection), query('SELECT 1')]));
  await atServer.exactly(command(Command.resetConnection));
  bare.server.write(okPacket);
  await atServer.exactly(query('SET armed'));
  await fromSession.exactly(okPacket);
  bare.server.write(okPacket);
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(okPacket);
  await fromSession.exactly(okPacket);
});

// ---- Statements that have another id there.

for (const [what, client] of [['as they are', modern], ['translated', classic]] as const) {
  test(`prepared statements keep their ids behind a move, ${what}, byte by byte`, async () => {
    const { bare, fromSession, atServer } = await session(client);
    const answer = (id: number, toClassic: boolean): Buffer => packets([prepared(id, 1, 0), column('a'), ...(toClassic ? [eof(2)] : [])]);
    const classicClient = client === classic;
    bare.client.write(command(Command.stmtPrepare, 'SELECT 1'));
    await atServer.exactly(command(Command.stmtPrepare, 'SELECT 1'));
    bare.server.write(answer(3, false));
    await fromSession.exactly(answer(3, classicClient));
    await bare.session.hold(1_000, always);
    const next = await bare.backend();
    const atNext = new Received(next.server);
    bare.session.swap(next.connection, new Map([[3, 900]]));
    expect(bare.session.backendStatementId(3)).toBe(900);

    const execute = (id: number): Buffer => command(Command.stmtExecute, u32(id), Buffer.from([0, 1, 0, 0, 0]));
    for (const byte of execute(3)) {
      bare.client.write(Buffer.from([byte]));
      await turn();
    }
    await atNext.exactly(execute(900));
    next.server.write(okPacket);
    await fromSession.exactly(okPacket);

    // The new server counts from 1 again; the client must not be told 3 twice.
    bare.client.write(command(Command.stmtPrepare, 'SELECT 2'));
    await atNext.exactly(command(Command.stmtPrepare, 'SELECT 2'));
    for (const byte of answer(3, false)) {
      next.server.write(Buffer.from([byte]));
      await turn();
    }
    await fromSession.exactly(answer(0x40_00_00_00, classicClient));
    bare.client.write(Buffer.concat([execute(0x40_00_00_00), execute(0xff_ff_ff_ff), execute(77), command(Command.stmtClose, u32(3)), execute(3)]));
    await atNext.exactly(Buffer.concat([execute(3), execute(3), execute(0), command(Command.stmtClose, u32(900)), execute(0)]));
    next.server.write(Buffer.concat([okPacket, okPacket, okPacket, okPacket]));
    await fromSession.exactly(Buffer.concat([okPacket, okPacket, okPacket, okPacket]));

    bare.client.write(Buffer.concat([command(Command.stmtPrepare, 'SELECT 3'), execute(0xff_ff_ff_ff)]));
    await atNext.exactly(Buffer.concat([command(Command.stmtPrepare, 'SELECT 3'), execute(0xff_ff_ff_ff)]));
    next.server.write(Buffer.concat([answer(4, false), okPacket]));
    await fromSession.exactly(Buffer.concat([answer(0x40_00_00_01, classicClient), okPacket]));
  });
}

// ---- KILL.

const victim = { node: 'n', id: sessionIdMin + 99, user: 'u', backend: 'elsewhere:1', backendThreadId: 41 };

test('KILL of a session here goes on with the number that its backend knows', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.found.set(victim.id, { ...victim, backend: bare.session.backend.backend.id });
  for (const [said, heard] of [
    [`KILL ${victim.id}`, 'KILL CONNECTION 41'],
    [`/* x */ kill query ${victim.id};`, 'KILL QUERY 41'],
    [`Kill Soft Connection ${victim.id}`, 'KILL SOFT CONNECTION 41'],
    [`KILL QUERY ${bare.session.id}`, 'KILL QUERY 5'],
  ] as const) {
    bare.client.write(query(said));
    await atServer.exactly(query(heard));
    bare.server.write(okPacket);
    await fromSession.exactly(okPacket);
  }
  expect(bare.killedIds).toEqual([victim.id, victim.id]);
  bare.client.write(command(Command.processKill, u32(victim.id)));
  await atServer.exactly(query('KILL CONNECTION 41'));
  const denied = packets([err(1095, 'HY000', 'You are not owner')]);
  bare.server.write(denied);
  await fromSession.exactly(denied);
  expect(bare.killedIds).toHaveLength(2);
});

test('what is no KILL of a session is left to the backend', async () => {
  const { bare, fromSession, atServer } = await session();
  for (const text of ['KILL 12', 'KILL USER root', `KILL QUERY ID ${victim.id}`, `SELECT 1; KILL ${victim.id}`, 'KILL', `KILL ${victim.id} 3`, `KILL ${victim.id}; SELECT 1`, `KILL '${victim.id}'`]) {
    bare.client.write(query(text));
    await atServer.exactly(query(text));
    bare.server.write(okPacket);
    await fromSession.exactly(okPacket);
  }
});

test('KILL of a session elsewhere is answered by the proxy, in its turn', async () => {
  const { bare, fromSession, atServer } = await session(classic);
  bare.found.set(victim.id, victim);
  const statements: string[] = [];
  bare.onKillElsewhere = async (_victim, statement) => void statements.push(statement);
  bare.client.write(Buffer.concat([query('SELECT 1'), query(`KILL ${victim.id}`), query('SELECT 2')]));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(okPacket);
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(okPacket);
  await waitUntil(() => fromSession.bytes.length === 33);
  expect(statements).toEqual(['KILL CONNECTION 41']);
  expect(bare.killedIds).toEqual([victim.id]);
  fromSession.bytes = Buffer.alloc(0);

  bare.onKillElsewhere = () => Promise.reject(new MysqlError({ code: 1095, sqlState: 'HY000' }, 'no secret'));
  bare.client.write(query(`KILL QUERY ${victim.id}`));
  await fromSession.exactly(packets([err(1095, 'HY000', 'no secret')]));
  bare.client.write(query(`KILL ${sessionIdMin + 1}`));
  await fromSession.exactly(packets([err(1094, 'HY000', `Unknown thread id: ${sessionIdMin + 1}`)]));
  expect(atServer.bytes).toHaveLength(0);
});

test('a session that is asked for while the killer moves is killed from where the killer is then', async () => {
  const { bare, fromSession, atServer } = await session();
  const next = await bare.backend(6);
  const atNext = new Received(next.server);
  for (const [found, heard] of [[bare.session.backend, undefined], [next.connection, `KILL QUERY 41`]] as const) {
    let answer = (_found: typeof victim): void => {};
    bare.findSession = () => new Promise((resolve) => (answer = resolve));
    bare.client.write(query(`KILL QUERY ${victim.id}`));
    await waitUntil(() => bare.session.commands.stopped);
    await bare.session.hold(1_000, always);
    answer({ ...victim, backend: found.backend.id });
    await turn();
    await turn();
    const server = heard === undefined ? bare.server : next.server;
    const asked = bare.session.backend.query('SELECT 2', 1_000);
    await (heard === undefined ? atServer : atNext).exactly(query('SELECT 2'));
    server.write(packets(result));
    expect((await asked).rows).toHaveLength(1);
    if (heard === undefined) {
      bare.session.swap(next.connection, new Map());
      // The victim has another backend than the killer now, who has no secret.
      await fromSession.exactly(packets([err(1095, 'HY000', 'no credential')]));
    } else {
      bare.session.resume();
      await atNext.exactly(query(heard));
      next.server.write(okPacket);
      await fromSession.exactly(okPacket);
    }
  }
});

// ---- COM_CHANGE_USER.

test('COM_CHANGE_USER is somebody else’s turn, and what follows it goes on behind', async () => {
  const { bare, fromSession, atServer } = await session(modern, { tracked: true });
  const change = command(Command.changeUser, 'v\0\0test\0');
  bare.onChangeUser = async (changing, payload) => {
    expect(payload.equals(change.subarray(4))).toBe(true);
    expect(changing.phase).toBe('moving');
    changing.client.channel.write(okPacket);
    return { user: 'v', database: 'other', collation: 8, attributes: [], credential: undefined };
  };
  bare.client.write(Buffer.concat([query('SELECT 1'), change, query('SELECT 2')]));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(okPacket);
  await atServer.exactly(query('SELECT 2'));
  expect([bare.session.user, bare.session.database, bare.session.credential]).toEqual(['v', 'other', undefined]);
  await fromSession.exactly(Buffer.concat([okPacket, okPacket]));
  expect(bare.session.why().map(({ code }) => code)).toContain('credential');
});

test('a change of the user that the server refuses has reset the session: trackers are armed again, no statement is left', async () => {
  const { bare, fromSession, atServer } = await session(modern, { tracked: true });
  await waitUntil(() => bare.session.state.armed);
  bare.session.state.setByClient.set('lock_wait_timeout', '77');
  bare.client.write(command(Command.stmtPrepare, 'SELECT ?'));
  await atServer.exactly(command(Command.stmtPrepare, 'SELECT ?'));
  bare.server.write(packets([prepared(3, 0, 0)]));
  await waitUntil(() => bare.session.state.prepared.size === 1 && fromSession.bytes.length > 0);
  let armed = 0;
  bare.onArm = () => Promise.resolve(void armed++);
  for (const [change, arms] of [[undefined, 0], ['refused', 1]] as const) {
    bare.onChangeUser = () => Promise.resolve(change);
    bare.client.write(Buffer.concat([command(Command.changeUser, 'v\0\0test\0'), query('SELECT 1')]));
    await atServer.exactly(query('SELECT 1'));
    bare.server.write(okPacket);
    await waitUntil(() => bare.session.phase === 'idle');
    expect([armed, bare.session.state.prepared.size, bare.session.state.setByClient.size, bare.session.database]).toEqual([arms, 1 - arms, 1 - arms, 'test']);
  }
});

test('a client that goes while its change of the user is under way ends its session, and gives back its place', async () => {
  const lease = leaseOf({});
  const others = lease.namespace.admit('v') as Lease;
  const { bare, atServer } = await session(modern, { lease });
  bare.onChangeUser = async ({ client }) => {
    client.channel.onClosed = () => {};
    client.channel.onEnd = () => {};
    client.channel.resume();
    bare.client.resetAndDestroy();
    await waitUntil(() => client.channel.closed);
    return { user: 'v', database: '', collation: 0, attributes: [], credential: undefined, lease: others };
  };
  bare.client.write(command(Command.changeUser, 'v\0\0test\0'));
  await waitUntil(() => bare.ended);
  expect(lease.namespace.connections).toBe(0);
  await atServer.end();
});

// ---- Limits of a namespace.

function leaseOf(limits: Partial<typeof noLimits>, refuseDigests: string[] = [], clock = new FakeClock()): Lease {
  const namespace = new Namespace({ ...defaultNamespace, limits: { ...noLimits, ...limits }, refuseDigests }, { clock, refused: () => {} });
  return namespace.admit('u') as Lease;
}

test('a statement on the refuse list is answered in its turn, and goes nowhere', async () => {
  const { digest } = statementDigest('DROP TABLE t', { ansiQuotes: false, noBackslashEscapes: false });
  const { bare, fromSession, atServer } = await session(modern, { lease: leaseOf({}, [digest]) });
  bare.client.write(Buffer.concat([query('SELECT 1'), query('drop  table t'), query('SELECT 2')]));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(packets(result));
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(packets(result));
  await waitUntil(() => fromSession.bytes.length > 2 * packets(result).length + 20);
  expect(fromSession.bytes.subarray(0, packets(result).length)).toEqual(packets(result));
  expect(fromSession.bytes[packets(result).length + 4]).toBe(0xff);
  fromSession.bytes = Buffer.alloc(0);
  for (const byte of command(Command.stmtPrepare, 'DROP TABLE t')) {
    bare.client.write(Buffer.from([byte]));
    await turn();
  }
  await waitUntil(() => fromSession.bytes[4] === 0xff);
  expect(atServer.bytes).toHaveLength(0);
});

test.each([false, true])('what was prepared before it was listed is not executed any more, the session tracked: %s', async (tracked) => {
  const { digest } = statementDigest('DROP TABLE t', { ansiQuotes: false, noBackslashEscapes: false });
  const lease = leaseOf({});
  const { bare, fromSession, atServer } = await session(modern, { lease, tracked });
  const execute = (id: number, code: number = Command.stmtExecute): Buffer => command(code, Buffer.concat([u32(id), Buffer.from([0, 1, 0, 0, 0])]));
  const passes = async (bytes: Buffer, answer: Buffer): Promise<void> => {
    bare.client.write(bytes);
    await atServer.exactly(bytes);
    bare.server.write(answer);
    await fromSession.exactly(answer);
  };
  const refused = async (bytes: Buffer, code: number): Promise<void> => {
    bare.client.write(bytes);
    await waitUntil(() => fromSession.bytes[4] === 0xff);
    expect([fromSession.bytes.readUInt16LE(5), atServer.bytes.length]).toEqual([code, 0]);
    fromSession.bytes = Buffer.alloc(0);
  };
  await passes(command(Command.stmtPrepare, 'DROP TABLE t'), packets([prepared(1)]));
  await passes(command(Command.stmtPrepare, 'SELECT NOTHING'), packets([err(1054, '42S22', 'Unknown column')]));
  await passes(command(Command.stmtPrepare, 'DO 1'), packets([prepared(2)]));
  await passes(execute(1), okPacket);
  lease.namespace.update({ ...lease.namespace.view, refuseDigests: [digest] });
  await refused(execute(1), 1148);
  await refused(execute(1, Command.stmtBulkExecute), 1148);
  await passes(execute(2), okPacket);
  await passes(execute(0xff_ff_ff_ff), okPacket);
  // MariaDB's clients send both at once: the last one is not the one before.
  bare.client.write(Buffer.concat([command(Command.stmtPrepare, 'DROP TABLE t'), execute(0xff_ff_ff_ff)]));
  await waitUntil(() => fromSession.bytes.length > 60);
  expect([atServer.bytes.length, fromSession.bytes.includes('Unknown prepared statement handler')]).toEqual([0, true]);
  fromSession.bytes = Buffer.alloc(0);
  bare.client.write(Buffer.concat([command(Command.stmtClose, u32(1)), execute(1)]));
  const unknown = packets([err(1243, 'HY000', 'Unknown prepared statement handler')]);
  await atServer.exactly(Buffer.concat([command(Command.stmtClose, u32(1)), execute(1)]));
  bare.server.write(unknown);
  await fromSession.exactly(unknown);
});

test('a statement behind blanks is found on the refuse list, and one of which not all can be read is refused', async () => {
  const { digest } = statementDigest('DROP TABLE t', { ansiQuotes: false, noBackslashEscapes: false });
  const { bare, fromSession, atServer } = await session(modern, { lease: leaseOf({}, [digest]) });
  const long = query(`SELECT '${'x'.repeat(200_000)}'`);
  bare.client.write(long);
  await atServer.exactly(long);
  bare.server.write(okPacket);
  await fromSession.exactly(okPacket);
  for (const text of [`${' '.repeat(200_000)}DROP TABLE t`, `${' '.repeat(3_000_000)}DROP TABLE t`]) {
    bare.client.write(query(text));
    await waitUntil(() => fromSession.bytes[4] === 0xff);
    fromSession.bytes = Buffer.alloc(0);
  }
  bare.client.write(query('SELECT 2'));
  await atServer.exactly(query('SELECT 2'));
});

test('a statement over the rate waits for its turn, or is refused when that is too long', async () => {
  const clock = new FakeClock();
  const { bare, fromSession, atServer } = await session(modern, { lease: leaseOf({ queriesPerSecond: 1, queriesBurst: 1, queueWaitMs: 2_000 }, [], clock) });
  bare.client.write(Buffer.concat([query('SELECT 1'), query('SELECT 2')]));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(okPacket);
  await fromSession.exactly(okPacket);
  await waitUntil(() => bare.session.commands.stopped);
  expect(atServer.bytes).toHaveLength(0);
  await clock.advance(1_000);
  await atServer.exactly(query('SELECT 2'));
  bare.server.write(okPacket);
  await fromSession.exactly(okPacket);
});

test('the first statement of a connection is in no transaction: it waits as others do', async () => {
  const lease = leaseOf({ concurrentQueries: 1, queueMax: 0 });
  const other = lease.namespace.admit('u') as Lease;
  expect(other.begin(Command.query, false)).toBeUndefined();
  const { bare, fromSession, atServer } = await session(modern, { lease });
  bare.client.write(query('SELECT 1'));
  await waitUntil(() => fromSession.bytes[4] === 0xff);
  expect(atServer.bytes).toHaveLength(0);
});
