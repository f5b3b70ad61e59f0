import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { PlainChannel } from '../connection/plain-channel.js';

export interface ListenAddress {
  /** Empty: every address of the machine. */
  readonly host: string;
  readonly port: number;
}

/** Connections the kernel keeps while we are busy; Linux limits it further by `net.core.somaxconn`. */
const backlog = 4_096;

/** The SQL ports of one worker. With several workers node:cluster makes them one and the same port. */
export class SqlListener {
  readonly #servers: Server[] = [];

  constructor(private readonly accepted: (channel: PlainChannel) => void) {}

  /** The addresses as bound, `host:port`. Rejects with the system's error for the first that cannot be. */
  async listen(addresses: readonly ListenAddress[]): Promise<string[]> {
    const bound: string[] = [];
    for (const address of addresses) bound.push(await this.#listen(address));
    return bound;
  }

  /** No new connection from now on; those there are stay. */
  close(): void {
    for (const server of this.#servers) server.close();
    this.#servers.length = 0;
  }

  #listen({ host, port }: ListenAddress): Promise<string> {
    // The socket is only paused: a channel takes its place before anything is read.
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket: Socket) => this.accepted(PlainChannel.accepted(socket)));
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => reject(Object.assign(cause, { host, port })));
      server.listen({ ...(host !== '' && { host }), port, backlog }, () => {
        // An error of one `accept` (no file handle left) is that connection's alone.
        server.removeAllListeners('error');
        server.on('error', () => {});
        this.#servers.push(server);
        const { address, port: boundPort } = server.address() as AddressInfo;
        resolve(address.includes(':') ? `[${address}]:${boundPort}` : `${address}:${boundPort}`);
      });
    });
  }
}
