import { expect, test } from '@jest/globals';
import { Command } from '@binnacle/mysql-wire/command';
import { framePayload } from '@binnacle/mysql-wire/packet-header';
import { column, eof, err, frame, ok } from '@binnacle/testing/peer-packets';
import { randomChunks, seededRandom } from '@binnacle/testing/seeded-random';
import { waitUntil } from '@binnacle/testing/wait-until';
import { bareSessions, classic, modern, Received } from './bare-session.js';
import { classicResult, command, packets, query, result, row, rowsEnd, u32 } from './packet-texts.js';

const session = bareSessions();

const pieces = (bytes: Buffer, seed: number): Buffer[] => randomChunks(bytes, seededRandom(seed), seed === 0 ? 1 : 11);

/** In pieces that arrive one by one: without Nagle, and each behind a turn of the loop. */
async function sendInPieces(socket: { write(bytes: Buffer): unknown; setNoDelay(on: boolean): unknown }, bytes: Buffer, seed = 0): Promise<void> {
  socket.setNoDelay(true);
  for (const piece of pieces(bytes, seed)) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [what, client, answer] of [['as they are', modern, result], ['translated', classic, classicResult]] as const) {
  test(`commands and responses go through byte by byte, ${what}`, async () => {
    const { bare, fromSession, atServer } = await session(client);
    await sendInPieces(bare.client, query('SELECT 1'));
    await atServer.exactly(query('SELECT 1'));
    expect(bare.session.phase).toBe('busy');
    await sendInPieces(bare.server, packets(result));
    await fromSession.exactly(packets(answer));
    expect(bare.session.phase).toBe('idle');
    expect(bare.session.commandsTotal).toBe(1);
  });

  test(`commands sent without waiting are answered in their order, ${what}`, async () => {
    const { bare, fromSession, atServer } = await session(client);
    const commands = [query('SELECT 1'), command(Command.ping), command(Command.stmtClose, u32(1)), query('SELECT 2')];
    bare.client.write(Buffer.concat(commands));
    await atServer.exactly(Buffer.concat(commands));
    bare.server.write(Buffer.concat([packets(result), packets([ok(2)]), packets(result)]));
    await fromSession.exactly(Buffer.concat([packets(answer), packets([ok(2)]), packets(answer)]));
    expect(bare.session.phase).toBe('idle');
  });
}

test('half a header is kept back, so that a client that leaves has said nothing', async () => {
  const { bare, atServer } = await session();
  bare.client.write(command(Command.ping).subarray(0, 3));
  await waitUntil(() => bare.session.client.channel.bytesRead === 3);
  expect(bare.session.phase).toBe('idle');
  bare.client.end();
  await atServer.end();
  expect(atServer.bytes).toEqual(frame(Buffer.from([Command.quit]), 0));
  await waitUntil(() => bare.ended);
});

test('a file of LOAD DATA LOCAL has the ids that each side counts', async () => {
  const { bare, fromSession, atServer } = await session(classic);
  bare.client.write(query('SELECT 1; LOAD DATA LOCAL'));
  await atServer.exactly(query('SELECT 1; LOAD DATA LOCAL'));
  const more = ok(2 | 8, { header: 0xfe });
  const wanted = Buffer.from('\xfbfile', 'latin1');
  bare.server.write(packets([Buffer.from([1]), column('a'), row, more, wanted]));
  await fromSession.exactly(packets([Buffer.from([1]), column('a'), eof(2), row, eof(2 | 8), wanted]));
  await sendInPieces(bare.client, packets([Buffer.from('a,b'), Buffer.from('c'), Buffer.alloc(0)], 7));
  await atServer.exactly(packets([Buffer.from('a,b'), Buffer.from('c'), Buffer.alloc(0)], 6));
  bare.server.write(packets([ok(2)], 9));
  await fromSession.exactly(packets([ok(2)], 10));
  bare.client.write(command(Command.ping));
  await atServer.exactly(command(Command.ping));
});

test('a command sent ahead where the server wants a file closes the session: nobody could tell what is what', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(Buffer.concat([query('LOAD DATA LOCAL'), command(Command.ping)]));
  await waitUntil(() => atServer.bytes.length > 20);
  bare.server.write(packets([Buffer.from('\xfbfile', 'latin1')]));
  await fromSession.end();
  expect(fromSession.bytes[4]).toBe(0xff);
  expect(bare.failures).toHaveLength(1);
});

test('a command of more than 16 MB goes through while it comes', async () => {
  const { bare, fromSession } = await session();
  const payload = Buffer.concat([Buffer.from([Command.query]), Buffer.alloc(40_000_000, 'x')]);
  const whole = framePayload(payload, 0);
  let received = 0;
  bare.server.removeAllListeners('data');
  bare.server.on('data', (chunk: Buffer) => (received += chunk.length));
  bare.client.write(whole.subarray(0, 20_000_000));
  await waitUntil(() => received === 20_000_000, { timeoutMs: 20_000 });
  bare.client.write(whole.subarray(20_000_000));
  await waitUntil(() => received === whole.length, { timeoutMs: 20_000 });
  bare.server.write(packets([ok(2)], 3));
  await fromSession.exactly(packets([ok(2)], 3));
  expect(bare.session.phase).toBe('idle');
});

for (const [what, bytes, code] of [
  ['another sequence id than 0', frame(Buffer.from([Command.ping]), 3), 1156],
  ['an empty packet', frame(Buffer.alloc(0), 0), 1835],
] as const) {
  test(`${what} is answered with an error, and the session ends`, async () => {
    const { bare, fromSession, atServer } = await session();
    bare.client.write(bytes);
    await fromSession.end();
    expect([fromSession.bytes[4], fromSession.bytes.readUInt16LE(5)]).toEqual([0xff, code]);
    await atServer.end();
    expect(bare.failures).toEqual([]);
  });
}

test('what no server says ends the session with an error', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('SELECT 1'));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(packets([Buffer.from([0])]));
  await fromSession.end();
  expect(bare.failures).toHaveLength(1);
});

// ---- A backend that goes away.

const lost = (sequenceId: number): Buffer => frame(err(2013, 'HY000', 'Lost connection to server during query'), sequenceId);

for (const [phase, client, said, expected] of [
  ['before it has answered', modern, Buffer.alloc(0), lost(1)],
  ['between the packets of a result', modern, packets(result.slice(0, 3)), Buffer.concat([packets(result.slice(0, 3)), lost(4)])],
  ['within a packet', modern, packets(result).subarray(0, 20), packets(result).subarray(0, 20)],
  ['within a header', modern, packets(result).subarray(0, 7), packets(result).subarray(0, 7)],
  ['between the results of one command', modern, packets([ok(2 | 8)]), Buffer.concat([packets([ok(2 | 8)]), lost(2)])],
  ['between translated packets', classic, packets(result.slice(0, 3)), Buffer.concat([packets(classicResult.slice(0, 4)), lost(5)])],
  ['within a header of a translated result', classic, packets(result.slice(0, 3)).subarray(0, 7), Buffer.concat([packets(result.slice(0, 1)), lost(2)])],
] as const) {
  for (const how of ['FIN', 'RST'] as const) {
    test(`a backend that is gone (${how}) ${phase}: an error where a packet may follow, and the end`, async () => {
      const { bare, fromSession, atServer } = await session(client);
      bare.client.write(query('COMMIT'));
      await atServer.exactly(query('COMMIT'));
      bare.server.write(said);
      const alike = expected.subarray(0, expected.length - (expected.includes('Lost') ? lost(0).length : 0));
      await waitUntil(() => fromSession.bytes.length >= alike.length, { what: 'what it said' });
      if (how === 'FIN') bare.server.end();
      else bare.server.resetAndDestroy();
      await fromSession.end();
      expect(fromSession.bytes.toString('hex')).toBe(expected.toString('hex'));
      await waitUntil(() => bare.ended);
      expect(bare.losses).toEqual([]);
    });
  }
}

test('a command that is refused while it comes has one answer, and then the end', async () => {
  const { bare, fromSession, atServer } = await session();
  const refusal = packets([err(1153, '08S01', 'too large')]);
  bare.client.write(query('x'.repeat(1_000)).subarray(0, 500));
  await waitUntil(() => atServer.bytes.length === 500);
  bare.server.end(refusal);
  await fromSession.end();
  expect(fromSession.bytes).toEqual(refusal);
});

test('more commands without waiting than a server would take are all answered in the end', async () => {
  const { bare, fromSession, atServer } = await session();
  const commands = 3_000;
  const ping = command(Command.ping);
  bare.server.on('data', (chunk: Buffer) => {
    for (let i = 0; i < chunk.length / ping.length; i++) bare.server.write(packets([ok(2)]));
  });
  bare.client.write(Buffer.concat(Array.from({ length: commands }, () => ping)));
  await fromSession.exactly(Buffer.concat(Array.from({ length: commands }, () => packets([ok(2)]))));
  expect(atServer.bytes).toHaveLength(commands * ping.length);
});

test('a backend that is gone while a file is sent: an error with the id that the client waits for', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.client.write(query('LOAD DATA LOCAL'));
  await atServer.exactly(query('LOAD DATA LOCAL'));
  bare.server.write(packets([Buffer.from('\xfbfile', 'latin1')]));
  await fromSession.exactly(packets([Buffer.from('\xfbfile', 'latin1')]));
  bare.client.write(frame(Buffer.from('a,b'), 2));
  await atServer.exactly(frame(Buffer.from('a,b'), 2));
  bare.server.end();
  await fromSession.end();
  expect(fromSession.bytes).toEqual(lost(3));
});

test('an idle session whose backend goes: the client learns that what it may have just sent was not executed', async () => {
  for (const tracked of [false, true]) {
    const { bare, fromSession } = await session(modern, { tracked });
    bare.server.end();
    await fromSession.end();
    expect(fromSession.bytes).toEqual(frame(err(2006, 'HY000', 'Server has gone away'), 1));
    expect(bare.losses).toHaveLength(tracked ? 1 : 0);
  }
});

test('an idle session whose backend goes is told to whoever can find it another one, and closed without another word if the server had one', async () => {
  const { bare, fromSession } = await session(modern, { tracked: true });
  bare.server.write(frame(err(1053, '08S01', 'Server shutdown in progress'), 0));
  await waitUntil(() => fromSession.bytes.length > 0);
  bare.server.end();
  await fromSession.end();
  expect(bare.losses).toMatchObject([{ errorCode: 1053 }]);
});

test('an idle session that is given another backend after its own went goes on there', async () => {
  const { bare, fromSession } = await session(modern, { tracked: true });
  const next = await bare.backend();
  const atNext = new Received(next.server);
  bare.onRecover = async (lostSession) => {
    expect(lostSession.phase).toBe('moving');
    lostSession.swap(next.connection, new Map());
    return true;
  };
  bare.server.resetAndDestroy();
  await waitUntil(() => bare.session.backend === next.connection);
  bare.client.write(query('SELECT 1'));
  await atNext.exactly(query('SELECT 1'));
  next.server.write(packets(result));
  await fromSession.exactly(packets(result));
});

// ---- A read that may be sent again.

async function readWhoseBackendDies(statement: string, said: Buffer = Buffer.alloc(0), statusFlags = 2) {
  const { bare, fromSession, atServer } = await session(modern, { tracked: true });
  bare.retriesReads = true;
  bare.client.write(command(Command.ping));
  await atServer.exactly(command(Command.ping));
  bare.server.write(packets([ok(statusFlags)]));
  await fromSession.exactly(packets([ok(statusFlags)]));
  const next = await bare.backend();
  bare.onRecover = async (lostSession) => {
    lostSession.swap(next.connection, new Map());
    return true;
  };
  bare.client.write(query(statement));
  await atServer.exactly(query(statement));
  bare.server.write(said);
  await waitUntil(() => fromSession.bytes.length === said.length);
  bare.server.resetAndDestroy();
  return { bare, fromSession, next, atNext: new Received(next.server) };
}

test('a read whose backend died before it had answered is sent to the next one, where that is wanted', async () => {
  const { bare, fromSession, next, atNext } = await readWhoseBackendDies('SELECT name FROM t WHERE id = 5');
  await atNext.exactly(query('SELECT name FROM t WHERE id = 5'));
  next.server.write(packets(result));
  await fromSession.exactly(packets(result));
  expect([bare.session.phase, bare.session.commandsTotal]).toEqual(['idle', 2]);
});

for (const [why, statement, said, statusFlags] of [
  ['changes something', 'UPDATE t SET a = 1', undefined, 2],
  ['commits', 'COMMIT', undefined, 2],
  ['locks', 'SELECT a FROM t FOR UPDATE', undefined, 2],
  ['leaves something behind', 'SELECT @a := 1', undefined, 2],
  ['calls what nobody knows', 'SELECT mine(1)', undefined, 2],
  ['asks for what only the old server knew', 'SELECT LAST_INSERT_ID()', undefined, 2],
  ['is one of two', 'SELECT 1; DELETE FROM t', undefined, 2],
  ['is in a transaction', 'SELECT 1', undefined, 3],
  ['was answered in part', 'SELECT 1', packets(result.slice(0, 1)), 2],
] as const) {
  test(`a statement that ${why} is never sent again`, async () => {
    const { bare, fromSession, atNext } = await readWhoseBackendDies(statement, said, statusFlags);
    await fromSession.end();
    expect(fromSession.bytes.toString('latin1')).toContain('Lost connection');
    expect([bare.losses.length, atNext.bytes.length]).toEqual([0, 0]);
  });
}

// ---- A client that goes away.

test('a client that leaves between commands: the backend is told', async () => {
  const { bare, atServer } = await session();
  bare.client.destroy();
  await atServer.exactly(frame(Buffer.from([Command.quit]), 0));
  await atServer.end();
  await waitUntil(() => bare.ended);
});

test('a client that leaves within a command: the backend gets no other end of it', async () => {
  const { bare, atServer } = await session();
  bare.client.write(query('SELECT 1').subarray(0, 9));
  await waitUntil(() => atServer.bytes.length === 9);
  bare.client.end();
  await atServer.end();
  expect(atServer.bytes).toEqual(query('SELECT 1').subarray(0, 9));
});

test('a client that stops talking still gets its answer, and the backend sees that it stopped', async () => {
  const { bare, fromSession, atServer } = await session();
  bare.server.allowHalfOpen = true;
  bare.client.end(query('SELECT 1'));
  await waitUntil(() => atServer.ended);
  expect(atServer.bytes).toEqual(query('SELECT 1'));
  bare.server.write(packets(result));
  await waitUntil(() => fromSession.ended);
  expect(fromSession.bytes).toEqual(packets(result));
});

test('a client that is reset within a result ends its backend at once', async () => {
  const { bare, atServer } = await session();
  bare.client.write(query('SELECT 1'));
  await atServer.exactly(query('SELECT 1'));
  bare.server.write(packets(result.slice(0, 2)));
  bare.client.resetAndDestroy();
  await waitUntil(() => bare.ended);
  await waitUntil(() => atServer.closed || atServer.ended);
});

test('COM_QUIT ends both sides, once the server has', async () => {
  const { bare, fromSession, atServer } = await session(modern, { tracked: true });
  bare.client.write(command(Command.quit));
  await atServer.exactly(command(Command.quit));
  bare.server.end();
  await fromSession.end();
  expect([fromSession.bytes.length, bare.losses.length]).toEqual([0, 0]);
});

// ---- Who reads slowly.

const largeRow = framePayload(Buffer.alloc(60_000, 'r'), 0);

test('a client that does not read stops its backend, and gets everything once it does', async () => {
  for (const client of [modern, classic]) {
    const { bare, atServer } = await session(client);
    bare.client.removeAllListeners('data');
    bare.client.pause();
    bare.client.write(query('SELECT 1'));
    await atServer.exactly(query('SELECT 1'));
    const rows = 4_000;
    bare.server.write(packets(result.slice(0, 2)));
    for (let i = 0; i < rows; i++) {
      const next = Buffer.from(largeRow);
      next[3] = (3 + i) & 0xff;
      bare.server.write(next);
    }
    bare.server.write(framePayload(rowsEnd, (3 + rows) & 0xff));
    const before = process.memoryUsage().arrayBuffers;
    let seen = -1;
    // Nothing moves any more: both sides' kernels are full, and we keep no more than a chunk or two.
    await waitUntil(
      () => {
        const stands = bare.session.backend.channel.bytesRead === seen;
        seen = bare.session.backend.channel.bytesRead;
        return stands && seen > 0;
      },
      { intervalMs: 200, timeoutMs: 20_000 },
    );
    expect(seen).toBeLessThan(30_000_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(5_000_000);
    let got = 0;
    bare.client.on('data', (chunk: Buffer) => (got += chunk.length));
    bare.client.resume();
    const expected = packets(result.slice(0, 2)).length + rows * largeRow.length + (client === classic ? 9 + 9 : 4 + rowsEnd.length);
    await waitUntil(() => got === expected, { timeoutMs: 30_000 });
    await waitUntil(() => bare.session.phase === 'idle');
  }
}, 60_000);

test('a backend that does not read stops its client', async () => {
  const { bare, fromSession } = await session();
  bare.server.removeAllListeners('data');
  bare.server.pause();
  const payload = Buffer.concat([Buffer.from([Command.query]), Buffer.alloc(100_000_000, 'x')]);
  const whole = framePayload(payload, 0);
  bare.client.write(whole);
  let seen = -1;
  await waitUntil(
    () => {
      const stands = bare.session.client.channel.bytesRead === seen;
      seen = bare.session.client.channel.bytesRead;
      return stands && seen > 0;
    },
    { intervalMs: 200, timeoutMs: 20_000 },
  );
  expect(seen).toBeLessThan(30_000_000);
  let got = 0;
  bare.server.on('data', (chunk: Buffer) => (got += chunk.length));
  bare.server.resume();
  await waitUntil(() => got === whole.length, { timeoutMs: 30_000 });
  bare.server.write(packets([ok(2)], 6));
  await fromSession.exactly(packets([ok(2)], 6));
}, 60_000);


