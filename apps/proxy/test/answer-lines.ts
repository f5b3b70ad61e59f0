import { Capability, has } from '@binnacle/mysql-wire/capabilities';
import { Command } from '@binnacle/mysql-wire/command';
import { decodeOkHead } from '@binnacle/mysql-wire/ok-packet';
import { StatusFlag } from '@binnacle/mysql-wire/status-flags';
import { errorText } from './wire-client.js';

/** Says nothing about what was asked: whether trackers are on is the proxy's affair. */
const ownFlags = StatusFlag.sessionStateChanged | StatusFlag.queryWasSlow;
const bytesShownMax = 300;

/**
 * An answer as comparable lines: whatever a client could notice of it, and nothing that may differ between two servers that hold the same (ids of prepared statements, what
 * changed of the session).
 */
export function answerLines(command: number, payloads: readonly Buffer[], capabilities: number): string[] {
  const lines: string[] = [];
  const deprecateEof = has(capabilities, Capability.deprecateEof);
  let at = 0;
  const definitions = (count: number, what: string): void => {
    for (let i = 0; i < count; i++) lines.push(`${what} ${bytesText(payloads[at++]!)}`);
    // What a server knows there of what will follow, a proxy that gets no such packet cannot know; no client uses it. Cursors are another matter.
    if (count > 0 && !deprecateEof) lines.push(`definitions end cursor=${payloads[at++]!.readUInt16LE(3) & StatusFlag.cursorExists}`);
  };
  while (at < payloads.length) {
    const payload = payloads[at++]!;
    if (payload[0] === 0xff) lines.push(`error ${errorText(payload)}`);
    else if (command === Command.stmtPrepare && lines.length === 0) {
      const [columns, parameters] = [payload.readUInt16LE(5), payload.readUInt16LE(7)];
      lines.push(`prepared columns=${columns} parameters=${parameters} warnings=${payload.readUInt16LE(10)}`);
      definitions(parameters, 'parameter');
      definitions(columns, 'column');
    } else if (command === Command.stmtFetch || command === Command.statistics) lines.push(isEnd(payload) ? endText(payload) : `row ${bytesText(payload)}`);
    else if (payload[0] === 0 || payload[0] === 0xfe) lines.push(endText(payload));
    else {
      definitions(payload[0]! < 0xfb ? payload[0]! : payload.readUInt16LE(1), 'column');
      for (let ended = false; !ended && at < payloads.length; ) {
        const row = payloads[at++]!;
        ended = isEnd(row) || row[0] === 0xff;
        if (!ended) lines.push(`row ${bytesText(row)}`);
        else lines.push(row[0] === 0xff ? `error ${errorText(row)}` : endText(row));
      }
    }
  }
  return lines.map(withoutIds);
}

/** Errors about a prepared statement name it as the server does, and so servers differ: also in the rows of SHOW ERRORS, which have their length before them. */
function withoutIds(line: string): string {
  return line.replace(/(?:\\x..|.)?(Unknown prepared statement handler|The statement) \(\d+\)/, '$1');
}

function isEnd(payload: Buffer): boolean {
  return payload[0] === 0xfe && payload.length < 0xff_ff_ff;
}

function endText(payload: Buffer): string {
  if (payload.length < 7) return `end status=${statusText(payload.readUInt16LE(3))} warnings=${payload.readUInt16LE(1)}`;
  const { affectedRows, lastInsertId, statusFlags, warnings, info } = decodeOkHead(payload);
  return `ok affected=${affectedRows} id=${lastInsertId} status=${statusText(statusFlags)} warnings=${warnings} info=${info.toString('latin1')}`;
}

function statusText(flags: number): string {
  return (flags & ~ownFlags).toString(16);
}

/** Text where it is text, with everything else escaped; the length where it is cut. */
function bytesText(bytes: Buffer): string {
  const text = bytes.subarray(0, bytesShownMax).toString('latin1').replace(/[^\x20-\x7e]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return bytes.length <= bytesShownMax ? text : `${text}... ${bytes.length} bytes, sum ${bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7)}`;
}
