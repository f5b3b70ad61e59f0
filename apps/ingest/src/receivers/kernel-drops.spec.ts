import { expect, test } from '@jest/globals';
import { dropsIn } from './kernel-drops.js';

const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 5641: 0100007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 123456 2 0000000000000000 17
 5642: 0200007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 123457 2 0000000000000000 3
 5643: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 123458 2 0000000000000000 99
`;

test('drops are those of all sockets of the port', () => {
  expect([8125, 53, 1].map((port) => [...dropsIn(table, port)])).toEqual([[['123456', 17], ['123457', 3]], [['123458', 99]], []]);
});
