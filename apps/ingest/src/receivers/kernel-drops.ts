import { readFile } from 'node:fs/promises';

const tables = ['/proc/net/udp', '/proc/net/udp6'];

/** UDP packets that the kernel threw away, because nobody read them in time: by socket, as each has a number of its own, and ends with its thread. */
export class KernelDrops {
  readonly #bySocket = new Map<string, number>();
  /** False where there is no Linux to tell. */
  isKnown = false;

  /** As of the last `look`; of sockets that are closed, as they were at the last one before. */
  total(): number {
    let total = 0;
    for (const drops of this.#bySocket.values()) total += drops;
    return total;
  }

  async look(port: number): Promise<void> {
    for (const path of tables) {
      const text = await readFile(path, 'latin1').catch(() => undefined);
      if (text === undefined) continue;
      this.isKnown = true;
      for (const [socket, drops] of dropsIn(text, port)) this.#bySocket.set(socket, drops);
    }
  }
}

/** The last column of the lines whose second one, `0100007F:1FBD`, ends with the port; by the number of the socket (inode), the tenth. */
export function* dropsIn(table: string, port: number): Generator<[socket: string, drops: number]> {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(ending)) yield [columns[9] ?? '', Number(columns.at(-1))];
  }
}
