import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A line to a server that can be cut at the worst moment: after the server has carried a command out, before the client hears of it. */
export class CuttingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** What a command must contain for its answer to be cut off. */
  #cutAfter: string | undefined;
  #refusing = false;
  #cuts = 0;

  private constructor(private readonly targetPort: number) {
    this.#server = createServer((client) => this.#serve(client));
  }

  static async open(targetPort: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get cuts(): number {
    return this.#cuts;
  }

  /** The next command that contains the text reaches the server; its answer is thrown away and the line cut. */
  cutAfter(text: string): void {
    this.#cutAfter = text;
  }

  /** Cuts every line and takes no new one. */
  refuse(): void {
    this.#refusing = true;
    this.#cutAll();
  }

  accept(): void {
    this.#refusing = false;
  }

  /** Both directions stop without a word, as on a network that loses every packet. */
  freeze(): void {
    for (const socket of this.#sockets) socket.pause();
  }

  async close(): Promise<void> {
    this.#cutAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket): void {
    if (this.#refusing) return void client.destroy();
    const server = connect({ host: '127.0.0.1', port: this.targetPort });
    let cutting = false;
    for (const [socket, peer] of [[client, server], [server, client]] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        peer.destroy();
      });
    }
    client.on('data', (chunk) => {
      if (this.#cutAfter !== undefined && chunk.includes(this.#cutAfter)) {
        this.#cutAfter = undefined;
        cutting = true;
      }
      server.write(chunk);
    });
    server.on('data', (chunk) => {
      if (!cutting) return void client.write(chunk);
      this.#cuts++;
      client.destroy();
    });
  }
}
