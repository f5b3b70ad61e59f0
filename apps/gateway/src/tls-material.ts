import { ConfigError } from '@binnacle/node-kit/config-error';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Inject, Injectable } from '@nestjs/common';
import { X509Certificate } from 'node:crypto';
import { readFileSync, watch, type FSWatcher } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { dirname } from 'node:path';
import { createSecureContext } from 'node:tls';

/** What the file system does not report (NFS, some container mounts) is found by reading the files this often. */
export const tlsPollMs = 10_000;
/** A certificate and its key are two files: wait this long after the first sign of change before reading both. */
const settleMs = 100;

interface Material {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
}

/** The certificate files of the public listeners. New files count as soon as they are there and fit together; no restart. */
@Injectable()
export class TlsMaterial {
  readonly enabled: boolean;
  readonly #servers = new Set<https.Server>();
  readonly #watchers: FSWatcher[] = [];
  #material: Material | undefined;
  /** Of the files that were not usable: what was wrong with them, so that it is logged once. */
  #complaint: string | undefined;
  #cancelTimer: () => void = () => {};
  #settling = false;
  #stopped = false;

  /** Throws `ConfigError` when the files cannot be used. */
  constructor(@Inject(NodeContext) private readonly node: Pick<NodeContext, 'config' | 'clock' | 'log' | 'addPart'>) {
    const { tlsCertFile, tlsKeyFile, tlsCaFile } = node.config.gateway;
    this.enabled = tlsCertFile !== '';
    if (this.enabled !== (tlsKeyFile !== '')) {
      throw new ConfigError(['gateway.tls-cert-file and gateway.tls-key-file belong together: set both or none']);
    }
    if (tlsCaFile !== '' && !this.enabled) {
      throw new ConfigError(['gateway.tls-ca-file, for client certificates, needs gateway.tls-cert-file and gateway.tls-key-file too']);
    }
    if (!this.enabled) return;
    try {
      this.#material = this.#read();
    } catch (error) {
      throw new ConfigError([`the files of gateway.tls-cert-file, tls-key-file and tls-ca-file cannot be used: ${(error as Error).message}`]);
    }
    node.addPart({ name: 'TLS files', start: async () => this.#follow(), stop: async () => this.#stop() });
  }

  /** HTTPS when certificates are configured, else HTTP. With `tls-ca-file` only clients with a certificate of that authority connect. */
  createServer(handler: http.RequestListener, options: http.ServerOptions): http.Server | https.Server {
    if (this.#material === undefined) return http.createServer(options, handler);
    const asksClient = this.#material.ca !== undefined;
    const server = https.createServer({ ...options, ...this.#material, requestCert: asksClient, rejectUnauthorized: asksClient }, handler);
    this.#servers.add(server);
    server.once('close', () => this.#servers.delete(server));
    return server;
  }

  #follow(): void {
    // The folders, not the files: a renamed or re-linked file (Kubernetes does that) is another file.
    for (const folder of new Set(this.#fileNames().map((name) => dirname(name)))) this.#watch(folder);
    this.#readAfter(tlsPollMs);
  }

  #stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
    for (const watcher of this.#watchers) watcher.close();
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        // Not once more for every event: a folder in which something changes all the time would never be read.
        if (!this.#settling) this.#readAfter(settleMs);
        this.#settling = true;
      });
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    } catch (error) {
      this.node.log.warn({ err: error, folder }, 'cannot watch the folder of the TLS files: changes are found within 10 s');
    }
  }

  #readAfter(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancelTimer();
    this.#cancelTimer = this.node.clock.after(delayMs, () => {
      this.#settling = false;
      this.#reload();
      this.#readAfter(tlsPollMs);
    });
  }

  #reload(): void {
    try {
      const material = this.#read();
      this.#complaint = undefined;
      if (isSame(material, this.#material)) return;
      this.#material = material;
      for (const server of this.#servers) server.setSecureContext({ ...material });
      const { subject, validTo } = new X509Certificate(material.cert);
      this.node.log.info({ subject, validTo }, 'TLS files changed: new connections use them');
    } catch (error) {
      const complaint = String(error);
      if (complaint === this.#complaint) return;
      this.#complaint = complaint;
      this.node.log.error({ err: error }, 'TLS files changed and cannot be used: the old ones stay');
    }
  }

  #fileNames(): string[] {
    const { tlsCertFile, tlsKeyFile, tlsCaFile } = this.node.config.gateway;
    return [tlsCertFile, tlsKeyFile, tlsCaFile].filter((name) => name !== '');
  }

  #read(): Material {
    const { tlsCertFile, tlsKeyFile, tlsCaFile } = this.node.config.gateway;
    const material = {
      cert: readFileSync(tlsCertFile, 'utf8'),
      key: readFileSync(tlsKeyFile, 'utf8'),
      ca: tlsCaFile === '' ? undefined : readFileSync(tlsCaFile, 'utf8'),
    };
    // Throws when a file is no PEM, or the key is another certificate's.
    createSecureContext({ ...material });
    if (material.ca !== undefined) new X509Certificate(material.ca);
    return material;
  }
}

function isSame(a: Material, b: Material | undefined): boolean {
  return a.cert === b?.cert && a.key === b.key && a.ca === b.ca;
}
