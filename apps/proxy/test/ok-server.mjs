/*
 * A MySQL server that answers everything at once, in a process of its own, for trials of speed and memory: OK, or for SELECT one column and no row.
 * Prints its port.
 */
import { createServer } from 'node:net';

const frame = (payload, sequenceId) => Buffer.concat([Buffer.from([payload.length & 255, payload.length >> 8, 0, sequenceId]), payload]);
// LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS, PLUGIN_AUTH
const capabilities = 1 | 8 | 512 | 8_192 | 32_768 | 65_536 | 131_072 | (1 << 19);
const greeting = Buffer.concat([
  Buffer.from([10]), Buffer.from('8.0.0-answers-at-once\0'), Buffer.from([1, 0, 0, 0]), Buffer.alloc(8, 'a'), Buffer.from([0]),
  Buffer.from([capabilities & 255, (capabilities >> 8) & 255, 45, 2, 0, (capabilities >> 16) & 255, (capabilities >> 24) & 255, 21]), Buffer.alloc(10), Buffer.alloc(12, 'a'), Buffer.from([0]), Buffer.from('mysql_native_password\0'),
]);
const text = (value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
const column = Buffer.concat([text('def'), text(''), text(''), text(''), text('c'), text(''), Buffer.from([12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0])]);
const eof = Buffer.from([0xfe, 0, 0, 2, 0]);
const ok = frame(Buffer.from([0, 0, 0, 2, 0, 0, 0]), 1);
const empty = Buffer.concat([frame(Buffer.from([1]), 1), frame(column, 2), frame(eof, 3), frame(eof, 4)]);

const server = createServer({ noDelay: true }, (socket) => {
  let left = Buffer.alloc(0);
  let isLoggedIn = false;
  socket.on('error', () => {});
  socket.write(frame(greeting, 0));
  socket.on('data', (chunk) => {
    left = left.length === 0 ? chunk : Buffer.concat([left, chunk]);
    const answers = [];
    let at = 0;
    for (; left.length - at >= 4; ) {
      const end = at + 4 + left.readUIntLE(at, 3);
      if (end > left.length) break;
      const command = left[at + 4];
      if (!isLoggedIn) {
        isLoggedIn = true;
        answers.push(frame(Buffer.from([0, 0, 0, 2, 0, 0, 0]), left[at + 3] + 1));
      } else if (command === 1) socket.end();
      else answers.push(command === 3 && (left[at + 5] | 32) === 0x73 && (left[at + 7] | 32) === 0x6c ? empty : ok);
      at = end;
    }
    left = left.subarray(at);
    if (answers.length > 0) socket.write(answers.length === 1 ? answers[0] : Buffer.concat(answers));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.on('disconnect', () => process.exit());
