/** The part of rocksdb-native that Binnacle uses; the package has no declarations of its own. */
declare module 'rocksdb-native' {
  export interface WriteBatch {
    tryPut(key: Uint8Array, value: Uint8Array): void;
    tryDelete(key: Uint8Array): void;
    tryDeleteRange(start: Uint8Array, end: Uint8Array): void;
    flush(): Promise<void>;
  }

  export interface ReadBatch {
    get(key: Uint8Array): Promise<Buffer | null>;
    tryFlush(): void;
  }

  export interface Range {
    gt?: Uint8Array;
    gte?: Uint8Array;
    lt?: Uint8Array;
  }

  export interface Entry {
    key: Buffer;
    value: Buffer;
  }

  /** What there was at one moment, until it is closed. */
  export interface Snapshot {
    iterator(range: Range, options: { capacity: number; limit?: number }): AsyncIterable<Entry>;
    close(): Promise<void>;
  }

  export default class RocksDB {
    constructor(path: string, options?: { writeBufferSize?: number; maxBackgroundJobs?: number; avoidFlushDuringShutdown?: boolean });
    ready(): Promise<void>;
    close(): Promise<void>;
    /** Resolves once nothing runs in the engine and nothing starts until `resume`; calls made meanwhile wait. */
    suspend(): Promise<void>;
    resume(): Promise<void>;
    read(options: { capacity: number; autoDestroy: true }): ReadBatch;
    write(options: { capacity: number; autoDestroy: true }): WriteBatch;
    get(key: Uint8Array): Promise<Buffer | null>;
    snapshot(): Snapshot;
    iterator(range: Range, options: { capacity: number; limit?: number }): AsyncIterable<Entry>;
    flush(): Promise<void>;
    compactRange(): Promise<void>;
    currentWalFile(): Promise<{ path: string }>;
    getProperty(name: string): Promise<string>;
  }
}
