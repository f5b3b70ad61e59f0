import { errHeader } from '@binnacle/mysql-wire/err-packet';
import { decodeHandshake } from '@binnacle/mysql-wire/handshake';
import { encodeProxyHeader, type ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import { kindOf } from '../connection/backend-connection.js';
import { Deadline } from '../connection/deadline.js';
import { ConnectionLost } from '../connection/mysql-error.js';
import { closeSoon } from '../connection/nobody.js';
import { PacketPort } from '../connection/packet-port.js';
import { PlainChannel } from '../connection/plain-channel.js';
import { beRefused, respondAsNobody } from '../connection/refused-login.js';
import { errorOf } from '../connection/result-reader.js';
import type { BackendGreeting } from './backend.js';

export interface ProbeOptions {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** The server wants a PROXY header first. */
  readonly proxyHeader: boolean;
}

/** Says "the proxy itself". */
export const ownProxyHeader: ProxyHeader = { proxied: false, source: undefined, destination: undefined, tlvs: [] };

const greetingBytesMax = 16_384;

/**
 * Reads a server's greeting without a user of its own. Rejects with `MysqlError` where the server refuses instead (1040, 1129), with `ConnectionLost`
 * or the system's error for everything else.
 *
 * MySQL and MariaDB count whoever leaves behind the greeting, and do not count a login that is refused: so the probe logs in as a user that does not exist.
 * TiDB counts nothing, and would log every refused login: there the probe just leaves.
 */
export async function probeGreeting(options: ProbeOptions): Promise<BackendGreeting> {
  const deadline = new Deadline(options.timeoutMs, () => new ConnectionLost(`no greeting within ${options.timeoutMs} ms`));
  try {
    const channel = await PlainChannel.dial({ host: options.host, port: options.port, timeoutMs: deadline.leftMs });
    const port = new PacketPort(channel, 'the server', greetingBytesMax);
    deadline.watch(port);
    try {
      if (options.proxyHeader) channel.write(encodeProxyHeader(ownProxyHeader));
      const payload = await port.read();
      if (payload[0] === errHeader) throw errorOf(payload);
      const handshake = decodeHandshake(payload);
      if (kindOf(handshake.serverVersion) !== 'tidb') {
        respondAsNobody(port, handshake);
        await beRefused(port);
      }
      const { serverVersion, capabilities, mariadbCapabilities, collation } = handshake;
      return { serverVersion, capabilities, mariadbCapabilities, collation };
    } finally {
      deadline.unwatch(port);
      port.release();
      closeSoon(channel);
    }
  } finally {
    deadline.over();
  }
}
