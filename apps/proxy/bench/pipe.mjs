// A bare pipe between a port and another one: what a proxy in Node costs before it knows anything. node bench/pipe.mjs <listen port> <backend port>
import { connect, createServer } from 'node:net';

const [port, backendPort] = process.argv.slice(2).map(Number);

createServer({ noDelay: true }, (client) => {
  const backend = connect({ host: '127.0.0.1', port: backendPort, noDelay: true });
  client.pipe(backend).pipe(client);
  client.on('error', () => backend.destroy());
  backend.on('error', () => client.destroy());
}).listen({ port, host: '127.0.0.1', backlog: 4_096 }, () => console.log('listening'));
