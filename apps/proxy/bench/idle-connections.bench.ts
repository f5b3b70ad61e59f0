/*
 * What an idle session costs the proxy in memory, against HAProxy and a bare pipe in Node.js.
 * After a build, with `ulimit -n` of twice the connections:  node apps/proxy/bench/idle-connections.bench.ts [connections]
 * Every session has logged in and asked for one row; a client says nothing more while resident memory is read.
 */
import '../test/typescript-files.mjs';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';

const { startMariadb } = await import('@binnacle/testing/mariadb-server');
const { WireClient } = await import('../test/wire-client.js');
const { barePipe, binnacle, haproxy, residentKb } = await import('./peers.js');

const connections = Number(process.argv[2] ?? 9_900);
const atOnce = 32;
const settleMs = 15_000;
const server = await startMariadb({ args: [`--max-connections=${connections + 50}`, '--thread-handling=pool-of-threads', '--open-files-limit=20000', '--back-log=4096', '--wait-timeout=28800'] });

type Client = Awaited<ReturnType<typeof WireClient.login>>;

async function open(port: number): Promise<Client> {
  const client = await WireClient.login({ port, user: 'root', password: 'root', database: 'test', capabilities: Capability.deprecateEof | Capability.sessionTrack });
  await client.send(Command.query, 'SELECT 1');
  return client;
}

try {
  for (const start of [haproxy, barePipe, binnacle]) {
    const peer = await start(server.port);
    const clients: Client[] = [];
    // What every process takes once, for code and pools, is not the connections'.
    for (const client of await Promise.all(Array.from({ length: atOnce }, () => open(peer.port)))) client.close();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const before = residentKb(peer.pid!);
    while (clients.length < connections) clients.push(...(await Promise.all(Array.from({ length: Math.min(atOnce, connections - clients.length) }, () => open(peer.port)))));
    const opened = residentKb(peer.pid!);
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    const settled = residentKb(peer.pid!);
    console.log(`${peer.name}: ${connections} idle sessions, ${((opened - before) / connections).toFixed(1)} kB each when the last had come, ${((settled - before) / connections).toFixed(1)} kB each ${settleMs / 1_000} s later (${Math.round(before / 1_024)} MB before, ${Math.round(settled / 1_024)} MB then)`);
    for (const client of clients) client.close();
    await peer.stop();
  }
} finally {
  await server.stop();
}
