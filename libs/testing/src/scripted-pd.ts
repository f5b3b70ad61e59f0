import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TidbMember {
  /** `host:port` of its SQL port. */
  readonly address: string;
  readonly statusPort: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** PD's etcd gateway, as far as `/topology/tidb/` goes. `members` is read at every request. */
export async function startScriptedPd(members: () => readonly TidbMember[]): Promise<ScriptedPd> {
  const pd = new ScriptedPd(members);
  await pd.start();
  return pd;
}

export class ScriptedPd {
  /** Key and end of every range asked for. */
  readonly asked: { readonly key: string; readonly rangeEnd: string }[] = [];
  /** Answers 503 while this is set. */
  failing = false;
  readonly #members: () => readonly TidbMember[];
  readonly #server: Server;

  constructor(members: () => readonly TidbMember[]) {
    this.#members = members;
    this.#server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        const found = request.method === 'POST' && request.url === '/v3/kv/range' && !this.failing;
        response.writeHead(found ? 200 : this.failing ? 503 : 404, { 'content-type': 'application/json' }).end(found ? this.#range(body) : '{}');
      });
    });
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #range(body: string): string {
    const { key = '', range_end: end = '' } = JSON.parse(body) as { key?: string; range_end?: string };
    const [from, to] = [Buffer.from(key, 'base64').toString('latin1'), Buffer.from(end, 'base64').toString('latin1')];
    this.asked.push({ key: from, rangeEnd: to });
    const pairs = this.#members().flatMap(({ address, statusPort, labels = {} }) => [
      [`/topology/tidb/${address}/info`, JSON.stringify({ version: '8.0.11-TiDB-v8.5.1', git_hash: '0', ip: '127.0.0.1', listening_port: Number(address.split(':').at(-1)), status_port: statusPort, deploy_path: '/tidb', start_timestamp: 1, labels })],
      [`/topology/tidb/${address}/ttl`, `${Date.now()}000000`],
    ]);
    const kvs = pairs
      .filter(([name]) => name! >= from && (to === '' ? name === from : name! < to))
      .map(([name, value]) => ({ key: Buffer.from(name!).toString('base64'), value: Buffer.from(value!).toString('base64'), create_revision: '2', mod_revision: '2', version: '1' }));
    return JSON.stringify({ header: { cluster_id: '1', revision: '9' }, ...(kvs.length > 0 && { kvs, count: String(kvs.length) }) });
  }
}
