import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * The open connections of a server, and how many requests each has under way. Node.js takes a connection that has sent nothing, or half
 * a request head, for a busy one, and once a server closes it looks no more for clients that are too slow: one of them would hold up
 * the end of a node until its deadline.
 */
export class Connections {
  readonly #requestsOf = new Map<Socket, number>();

  /** `secureConnection` of a TLS server: its requests come on that socket. */
  follow(server: Server, event: 'connection' | 'secureConnection' = 'connection'): void {
    server.on(event, (socket: Socket) => {
      this.#requestsOf.set(socket, 0);
      socket.once('close', () => this.#requestsOf.delete(socket));
    });
  }

  begin(socket: Socket): void {
    this.#add(socket, 1);
  }

  end(socket: Socket): void {
    this.#add(socket, -1);
  }

  /** Cuts what has no request under way. */
  endUnused(): void {
    for (const [socket, requests] of this.#requestsOf) if (requests === 0) socket.destroy();
  }

  #add(socket: Socket, change: number): void {
    const requests = this.#requestsOf.get(socket);
    if (requests !== undefined) this.#requestsOf.set(socket, requests + change);
  }
}
