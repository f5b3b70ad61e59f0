import { authMoreDataHeader, authSwitchHeader } from '@binnacle/mysql-wire/auth-packets';
import { Capability } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { errHeader } from '@binnacle/mysql-wire/err-packet';
import { encodeHandshakeResponse, type Handshake } from '@binnacle/mysql-wire/handshake';
import { Deadline } from './deadline.js';
import { ConnectionLost } from './mysql-error.js';
import { closeSoon } from './nobody.js';
import { PacketPort } from './packet-port.js';

/*
 * MySQL and MariaDB count whoever leaves between the greeting and the end of the login, however politely, as a failed connection of that host, and block
 * the host after `max_connect_errors` (100) of them. A login that is refused is not counted. To them the proxy is one host, so its clients could lock each
 * other out: it never leaves a login before the server has refused it.
 */

/** A user that nobody has. */
const nobody = 'binnacle-check';
const nothing = Buffer.alloc(0);
const quit = Buffer.from([Command.quit]);
const packetBytesMax = 16_384;
/** Of a login that is meant to fail: a switch to another plugin, more data, then the error. */
const answersMax = 4;
/** A server that takes longer to refuse is left all the same. */
const refusedWithinMs = 2_000;

/** Behind the greeting: begins a login that is meant to fail. */
export function respondAsNobody(port: PacketPort, { capabilities, collation, authPlugin }: Handshake): void {
  const { protocol41, secureConnection, pluginAuth } = Capability;
  port.write(
    encodeHandshakeResponse({
      capabilities: (protocol41 | secureConnection | pluginAuth) & capabilities,
      mariadbCapabilities: 0,
      packetBytesMax,
      collation,
      user: nobody,
      authResponse: nothing,
      database: undefined,
      authPlugin,
      attributes: undefined,
      zstdLevel: undefined,
    }),
  );
}

/** Answers with nothing until the server refuses. Rejects as `PacketPort.read`. */
export async function beRefused(port: PacketPort): Promise<void> {
  for (let answers = 0; answers < answersMax; answers++) {
    const [header] = await port.read();
    if (header === authSwitchHeader || header === authMoreDataHeader) port.write(nothing);
    else {
      if (header !== errHeader) sayGoodbye(port);
      return;
    }
  }
}

/** Somebody without a password let us in. */
function sayGoodbye(port: PacketPort): void {
  port.sequenceId = 0;
  port.write(quit);
}

/**
 * Takes the channel of a login that cannot go on, has the login refused and closes the channel. Resolves when the server has refused, or did not in time.
 *
 * @param isAsked the server waits for an answer
 */
export async function leaveLogin({ channel, sequenceId, unread }: PacketPort, isAsked: boolean): Promise<void> {
  if (channel.closed) return;
  const port = new PacketPort(channel, 'the server', packetBytesMax, unread);
  port.sequenceId = sequenceId;
  const deadline = new Deadline(refusedWithinMs, () => new ConnectionLost(`the server did not refuse a login within ${refusedWithinMs} ms`));
  deadline.watch(port);
  try {
    if (isAsked) port.write(nothing);
    await beRefused(port);
  } catch {
    // Then it has gone, or counts what it likes.
  } finally {
    deadline.over();
    port.release();
    closeSoon(channel);
  }
}
