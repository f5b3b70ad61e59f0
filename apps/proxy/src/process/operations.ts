import { Injectable } from '@nestjs/common';
import { ProxyOperations } from '../admin/proxy-operations.js';
import { SqlProxy } from './sql-proxy.js';

/** What TiProxy's API asks of this node. */
@Injectable()
export class NodeOperations extends ProxyOperations {
  constructor(private readonly proxy: SqlProxy) {
    super();
  }

  isOpen(): boolean {
    return this.proxy.health().ok;
  }

  redistribute(): Promise<number> {
    return this.proxy.redistribute();
  }

  backendReadings(): unknown {
    return this.proxy.backends.reports().map(({ id, healthy, score, sessions, load, state }) => ({
      backend: id,
      healthy,
      score,
      sessions,
      load: load ?? null,
      pingMs: state.pingMs ?? null,
      checkedAtMs: state.checkedAtMs ?? null,
    }));
  }
}
