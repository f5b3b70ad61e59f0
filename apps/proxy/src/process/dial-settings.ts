import { isIP } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Clock } from '@binnacle/cluster-state/clock';
import type { ProxyHeader } from '@binnacle/mysql-wire/proxy-protocol';
import type { Logger } from 'pino';
import { ownProxyHeader } from '../backends/greeting-probe.js';
import type { ByteChannel } from '../connection/byte-channel.js';
import type { ClientOptions } from '../connection/client-connection.js';
import type { BackendDial } from '../connection/greeted-backend.js';
import { contains, networkOf, type Network } from '../network.js';
import type { SettingsView } from '../settings/proxy-settings.js';
import { TlsFiles } from './tls-files.js';

/** What of a client a backend may be told before it logs in. */
interface ClientAddress {
  readonly address: string;
  readonly remotePort: number;
  /** Of our listener. */
  readonly port: number;
}

/** How connections begin on both sides, by the settings of now: TLS and PROXY headers. */
export class DialSettings {
  readonly #serverTls: TlsFiles;
  readonly #sqlTls: TlsFiles;
  readonly #clusterTls: TlsFiles;
  #trustedFrom: readonly string[] = [];
  #trusted: readonly Network[] = [];

  constructor(
    private readonly settings: () => SettingsView,
    clock: Clock,
    log: Logger,
  ) {
    this.#serverTls = new TlsFiles('server-tls', clock, log);
    this.#sqlTls = new TlsFiles('sql-tls', clock, log);
    this.#clusterTls = new TlsFiles('cluster-tls', clock, log);
  }

  /** Throws `ConfigError` on certificate files that cannot be used. */
  check(): void {
    const { serverTls, sqlTls, clusterTls } = this.settings().security;
    this.#serverTls.check(serverTls);
    this.#sqlTls.check(sqlTls);
    this.#clusterTls.check(clusterTls);
  }

  /** For a client that has just connected. */
  from(channel: ByteChannel): Pick<ClientOptions, 'tls' | 'proxyProtocol'> {
    const { serverTls, requireClientTls } = this.settings().security;
    const context = serverTls.cert === '' ? undefined : this.#serverTls.context(serverTls);
    return {
      ...(context !== undefined && { tls: { context, required: requireClientTls, requestCertificate: serverTls.ca !== '' } }),
      proxyProtocol: this.#expectsHeader(channel.remoteAddress),
    };
  }

  /** For a connection to a backend, in the name of this client. */
  to(client?: ClientAddress): BackendDial {
    const { security, proxy } = this.settings();
    const { sqlTls, requireBackendTls } = security;
    const always = {
      proxyHeader: headerFor(proxy.proxyProtocol, client),
      compression: proxy.backendCompression || undefined,
      keepalive: proxy.backendHealthyKeepalive,
      greetingTimeoutMs: proxy.healthCheckTimeoutMs,
    };
    const configured = sqlTls.ca !== '' || sqlTls.cert !== '' || sqlTls.skipCa;
    if (!configured && !requireBackendTls) return { tls: { mode: 'off', verify: false }, ...always };
    const context = this.#sqlTls.context(sqlTls);
    return {
      tls: { mode: requireBackendTls ? 'required' : 'preferred', verify: sqlTls.ca !== '' && !sqlTls.skipCa, ...(context !== undefined && { context }) },
      ...always,
    };
  }

  /** For PD and for the status ports of TiDB; undefined: without TLS. */
  cluster(): { readonly context: SecureContextOptions; readonly verify: boolean } | undefined {
    const { clusterTls } = this.settings().security;
    if (clusterTls.ca === '' && clusterTls.cert === '' && !clusterTls.skipCa) return undefined;
    return { context: this.#clusterTls.material(clusterTls), verify: clusterTls.ca !== '' && !clusterTls.skipCa };
  }

  /** Who is not trusted to say whose connection it is has none to say. */
  #expectsHeader(address: string): boolean {
    const { proxyProtocol, proxyProtocolNetworks } = this.settings().proxy;
    if (proxyProtocol !== 'v2') return false;
    if (proxyProtocolNetworks !== this.#trustedFrom) {
      this.#trustedFrom = proxyProtocolNetworks;
      this.#trusted = proxyProtocolNetworks.map(networkOf);
    }
    return this.#trusted.length === 0 || this.#trusted.some((network) => contains(network, address));
  }
}

function headerFor(version: string, client: ClientAddress | undefined): ProxyHeader | undefined {
  if (version !== 'v2') return undefined;
  if (client === undefined) return ownProxyHeader;
  const any = isIP(client.address) === 6 ? '::' : '0.0.0.0';
  return { proxied: true, source: { address: client.address, port: client.remotePort }, destination: { address: any, port: client.port }, tlvs: [] };
}
