import { Capability } from '@binnacle/mysql-wire/capabilities';
import { authMoreDataHeader, authSwitchHeader } from '@binnacle/mysql-wire/auth-packets';
import { errHeader } from '@binnacle/mysql-wire/err-packet';
import { decodeHandshake, encodeHandshakeResponse, type Handshake } from '@binnacle/mysql-wire/handshake';
import { encodeProxyHeader, type ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import { kindOf } from '../connection/backend-connection.js';
import { Deadline } from '../connection/deadline.js';
import { ConnectionLost } from '../connection/mysql-error.js';
import { closeSoon } from '../connection/nobody.js';
import { PacketPort } from '../connection/packet-port.js';
import { PlainChannel } from '../connection/plain-channel.js';
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

/** A user that nobody has: see `probeGreeting`. */
const nobody = 'binnacle-check';
const greetingBytesMax = 16_384;
/** Of a login that is meant to fail: a switch to another plugin, then the error. */
const answersMax = 4;
const quit = Buffer.from([1]);

/**
 * Reads a server's greeting without a user of its own. Rejects with `MysqlError` where the server refuses instead (1040, 1129), with `ConnectionLost`
 * or the system's error for everything else.
 *
 * MySQL and MariaDB count whoever leaves between the greeting and the login, however politely, as a failed connection of that host, and block the host
 * after `max_connect_errors` (100) of them. A login that is refused is not counted. So the probe logs in as a user that does not exist.
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
      if (kindOf(handshake.serverVersion) !== 'tidb') await failToLogIn(port, handshake);
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

async function failToLogIn(port: PacketPort, handshake: Handshake): Promise<void> {
  const { protocol41, secureConnection, pluginAuth } = Capability;
  port.write(
    encodeHandshakeResponse({
      capabilities: (protocol41 | secureConnection | pluginAuth) & handshake.capabilities,
      mariadbCapabilities: 0,
      packetBytesMax: greetingBytesMax,
      collation: handshake.collation,
      user: nobody,
      authResponse: Buffer.alloc(0),
      database: undefined,
      authPlugin: handshake.authPlugin,
      attributes: undefined,
      zstdLevel: undefined,
    }),
  );
  for (let answers = 0; answers < answersMax; answers++) {
    const [header] = await port.read();
    if (header === authSwitchHeader || header === authMoreDataHeader) port.write(Buffer.alloc(0));
    else {
      // An anonymous user let us in.
      if (header !== errHeader) sayGoodbye(port);
      return;
    }
  }
}

function sayGoodbye(port: PacketPort): void {
  port.sequenceId = 0;
  port.write(quit);
}
