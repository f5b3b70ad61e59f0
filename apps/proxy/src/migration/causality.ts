import { setTimeout as delay } from 'node:timers/promises';
import type { BackendConnection } from '../connection/backend-connection.js';
import { MoveRefused } from './move-refused.js';

/** What a server has applied: everything that a session of it may have seen. */
export type Position =
  | { readonly kind: 'galera'; readonly gtid: string }
  | { readonly kind: 'mariadb'; readonly gtids: string }
  | { readonly kind: 'mysql'; readonly gtids: string }
  /** It keeps no account. Only servers that share their storage are alike then. */
  | { readonly kind: 'none' };

const pollMs = 10;

async function first(connection: BackendConnection, sql: string, timeoutMs: number): Promise<(string | undefined)[]> {
  const { rows } = await connection.query(sql, timeoutMs);
  return (rows[0] ?? []).map((value) => value?.toString('latin1'));
}

/** @param group that of the target as it is known now: what the session was told at its login may be less */
export async function readPosition(connection: BackendConnection, group: string, timeoutMs: number): Promise<Position> {
  if (connection.kind === 'mysql') {
    const [gtids] = await first(connection, 'SELECT @@global.gtid_executed LIMIT 1', timeoutMs);
    return gtids === undefined || gtids === '' ? { kind: 'none' } : { kind: 'mysql', gtids: gtids.replace(/\s/g, '') };
  }
  if (connection.kind !== 'mariadb') return { kind: 'none' };
  if (group.startsWith('galera:')) {
    const status = await galeraStatus(connection, timeoutMs);
    return { kind: 'galera', gtid: `${status.get('wsrep_cluster_state_uuid')}:${status.get('wsrep_last_committed')}` };
  }
  const [gtids] = await first(connection, 'SELECT @@global.gtid_current_pos LIMIT 1', timeoutMs);
  return gtids === undefined || gtids === '' ? { kind: 'none' } : { kind: 'mariadb', gtids };
}

async function galeraStatus(connection: BackendConnection, timeoutMs: number): Promise<Map<string, string>> {
  const names = "'wsrep_cluster_state_uuid','wsrep_last_committed','wsrep_ready','wsrep_local_state'";
  const { rows } = await connection.query(`SHOW GLOBAL STATUS WHERE Variable_name IN (${names})`, timeoutMs);
  return new Map(rows.map(([name, value]) => [name!.toString('latin1'), value!.toString('latin1')]));
}

/** Until the server has applied all of `position`. Rejects with `MoveRefused` at the deadline. */
export async function waitFor(connection: BackendConnection, position: Position, timeoutMs: number): Promise<void> {
  if (await reached(connection, position, timeoutMs)) return;
  throw new MoveRefused('causality', `${connection.backend.id} had not applied within ${timeoutMs} ms what the session may have seen`);
}

async function reached(connection: BackendConnection, position: Position, timeoutMs: number): Promise<boolean> {
  const seconds = Math.max(1, Math.round(timeoutMs / 1_000));
  const answerMs = (seconds + 1) * 1_000;
  switch (position.kind) {
    case 'none':
      return true;
    case 'galera': {
      const [uuid, seqno] = position.gtid.split(':');
      // WSREP_SYNC_WAIT_UPTO_GTID takes another kind of position, which a cluster does not keep by default.
      return polled(timeoutMs, async () => {
        const status = await galeraStatus(connection, answerMs);
        if (status.get('wsrep_ready') !== 'ON') throw new MoveRefused('target', `${connection.backend.id} is not ready in its Galera cluster`);
        return status.get('wsrep_cluster_state_uuid') === uuid && Number(status.get('wsrep_last_committed')) >= Number(seqno);
      });
    }
    case 'mysql': {
      const [code] = await first(connection, `SELECT WAIT_FOR_EXECUTED_GTID_SET('${position.gtids}', ${seconds}) LIMIT 1`, answerMs);
      return code === '0';
    }
    case 'mariadb':
      // MASTER_GTID_WAIT waits for what is replicated only, and the target may be where it was written.
      return polled(timeoutMs, async () => {
        const [gtids] = await first(connection, 'SELECT @@global.gtid_current_pos LIMIT 1', answerMs);
        return contains(gtids ?? '', position.gtids);
      });
  }
}

async function polled(timeoutMs: number, reaches: () => Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + timeoutMs;
  while (!(await reaches())) {
    if (performance.now() > endMs) return false;
    await delay(pollMs);
  }
  return true;
}

/** Whether a position of MariaDB (`0-1-10,1-2-5`: domain, server, sequence number) is at another one or behind it in every domain of that. */
export function contains(gtids: string, wanted: string): boolean {
  const byDomain = (text: string): Map<string, number> => new Map(text.split(',').filter(Boolean).map((gtid) => [gtid.split('-')[0]!, Number(gtid.split('-')[2])]));
  const here = byDomain(gtids);
  return [...byDomain(wanted)].every(([domain, sequence]) => (here.get(domain) ?? -1) >= sequence);
}
