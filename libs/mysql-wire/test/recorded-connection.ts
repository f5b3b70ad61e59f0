import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Bytes that went one way until the other side spoke again. */
export interface Turn {
  readonly from: 'client' | 'server';
  readonly bytes: Buffer;
}

/** Everything one connection said. */
export class RecordedConnection {
  readonly #turns: { from: Turn['from']; chunks: Buffer[] }[] = [];
  closed = false;

  note(from: Turn['from'], chunk: Buffer): void {
    const last = this.#turns.at(-1);
    if (last?.from === from) last.chunks.push(chunk);
    else this.#turns.push({ from, chunks: [chunk] });
  }

  get turns(): Turn[] {
    return this.#turns.map(({ from, chunks }) => ({ from, bytes: Buffer.concat(chunks) }));
  }
}

/** A relay on a port of its own that writes down what goes through it, in the order in which it came. */
export class RecordingRelay {
  readonly connections: RecordedConnection[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(serverPort: number) {
    this.#server = createServer((client) => this.#relay(client, connect({ host: '127.0.0.1', port: serverPort })));
  }

  static async start(serverPort: number): Promise<RecordingRelay> {
    const relay = new RecordingRelay(serverPort);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #relay(client: Socket, server: Socket): void {
    const recorded = new RecordedConnection();
    this.connections.push(recorded);
    for (const [from, socket, other] of [['client', client, server], ['server', server, client]] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('data', (chunk: Buffer) => {
        recorded.note(from, chunk);
        if (!other.write(chunk)) socket.pause();
      });
      socket.on('drain', () => other.resume());
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        recorded.closed = true;
        other.end();
      });
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
