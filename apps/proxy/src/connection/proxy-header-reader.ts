import { parseProxyHeader, type ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import type { ByteChannel } from './byte-channel.js';
import { ConnectionLost } from './mysql-error.js';
import { leave } from './nobody.js';

/** What a channel begins with, if it begins with a header, and what came behind it. */
export interface ProxiedStart {
  readonly header: ProxyHeader;
  readonly rest: Buffer;
}

/** Reads the header that a load balancer sends first. Rejects with `MalformedPacketError` for anything else, and when the channel closes. */
export async function readProxyHeader(channel: ByteChannel): Promise<ProxiedStart> {
  try {
    return await new Promise<ProxiedStart>((resolve, reject) => {
      let bytes = Buffer.alloc(0);
      channel.onBytes = (chunk, start, end) => {
        bytes = Buffer.concat([bytes, chunk.subarray(start, end)]);
        try {
          const parsed = parseProxyHeader(bytes);
          if (parsed === undefined) return false;
          channel.pause();
          resolve({ header: parsed.header, rest: bytes.subarray(parsed.length) });
        } catch (error) {
          reject(error as Error);
        }
        return false;
      };
      channel.onEnd = () => reject(new ConnectionLost('closed before its PROXY header'));
      channel.onClosed = channel.onEnd;
      channel.resume();
    });
  } finally {
    leave(channel);
  }
}
