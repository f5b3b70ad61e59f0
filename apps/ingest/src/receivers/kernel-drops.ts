import { readFile } from 'node:fs/promises';

const tables = ['/proc/net/udp', '/proc/net/udp6'];

/**
 * UDP packets to a port of this machine that the kernel threw away, because nobody read fast enough, since its sockets were opened. Undefined where
 * there is no Linux to tell.
 */
export async function kernelDrops(port: number): Promise<number | undefined> {
  const texts = await Promise.all(tables.map((path) => readFile(path, 'latin1').catch(() => undefined)));
  const known = texts.filter((text) => text !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, text) => sum + dropsIn(text, port), 0);
}

/** The last column of the lines whose second one, `0100007F:1FBD`, ends with the port. */
export function dropsIn(table: string, port: number): number {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let drops = 0;
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(ending)) drops += Number(columns.at(-1));
  }
  return drops;
}
