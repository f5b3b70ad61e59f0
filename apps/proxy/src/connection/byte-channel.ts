export interface Keepalive {
  readonly enabled: boolean;
  /** 0: what the system has. */
  readonly idleMs: number;
  /** Between two probes; 0: a second. */
  readonly intvlMs: number;
  /** Unanswered ones after which the peer is gone; 0: ten. */
  readonly cnt: number;
}

/**
 * One TCP side of a session: a plain socket (`PlainChannel`), TLS, or compressed. What comes out of it is the bare protocol.
 * The callbacks are plain fields, set by whoever has the say at the moment (login, session, one command of a migration): no events,
 * promises or allocation per packet. Whoever sets them sets all five.
 */
export interface ByteChannel {
  /**
   * Bytes arrived: `chunk` from `start` to `end`. They may be changed in place. Valid during the call only, unless it returns true ("taken"): then the
   * channel never uses that memory again. Whoever wrote them on and finds `writesPending` there must take them.
   */
  onBytes: (chunk: Buffer, start: number, end: number) => boolean;
  /** After a `write` that gave false: what waited has gone. */
  onDrain: () => void;
  /** The peer sends nothing more (FIN); bytes to it may still go. */
  onEnd: () => void;
  /** Nothing more will happen. Called once, never within a call of a method of the channel; with the error if there was one. */
  onClosed: (error?: Error) => void;

  /** False: more than the high-water mark waits; `onDrain` follows. Ignored once closed. */
  write(chunk: Buffer): boolean;
  /** The memory of an earlier write is still in use: it must neither be changed nor read into. */
  readonly writesPending: boolean;
  /** More than the high-water mark waits: the last `write` gave false, and `onDrain` will follow. */
  readonly full: boolean;
  /** No `onBytes` from now on, not even for what has arrived already; idempotent. */
  pause(): void;
  resume(): void;
  /** Sends `last`, then FIN. Idempotent. The peer's bytes still arrive. */
  end(last?: Buffer): void;
  /** At once; `onClosed` follows. */
  destroy(): void;
  /** The kernel asks a peer that is silent for so long for a sign of life, and closes the connection when there is none. */
  keepAlive(keepalive: Keepalive): void;
  /** `onClosed` was called or is about to be: somebody who takes over the callbacks late must look here. */
  readonly closed: boolean;
  /** On the wire, encryption and compression included. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** The peer of the socket, not what a PROXY header says. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Of our end: the port that was listened on. */
  readonly localPort: number;
  /** Nobody on the way can read it: TLS. */
  readonly secure: boolean;
}
