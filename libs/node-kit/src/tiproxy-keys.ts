import { configKeys, type ConfigKey } from './config-schema.js';
import { isTable, splitAddress } from './value-forms.js';

/** What a key of TiProxy that is none of ours comes to. */
export interface ForeignKey {
  /** Keys of ours that it stands for. */
  readonly means: readonly { readonly key: ConfigKey; readonly value: unknown }[];
  /** Why it has no effect, or not all of it; undefined when it has. */
  readonly warning?: string;
}

type Treatment = (value: unknown) => ForeignKey;

const ignored = (why: string): Treatment => () => ({ means: [], warning: `this key of TiProxy's has no effect here: ${why}` });

function meaning(name: string, value: unknown): ForeignKey['means'][number] {
  const key = configKeys.find((each) => each.name === name);
  if (key === undefined) throw new Error(`${name} is no key`);
  return { key, value };
}

const standsFor = (name: string): Treatment => (value) => ({ means: [meaning(name, value)] });

/** Only the port: a file that binds everything and names no key must start a safe node all the same. */
const apiAddress: Treatment = (value) => {
  const address = typeof value === 'string' ? splitAddress(value) : undefined;
  if (address === undefined) return { means: [meaning('gateway.tiproxy-port', value)] };
  const warning = 'only its port counts: the API listens on gateway.host, and there on anything but loopback only with a key or client certificates';
  return { means: [meaning('gateway.tiproxy-port', address.port)], ...(address.host !== '127.0.0.1' && { warning }) };
};

const encoders: Readonly<Record<string, string>> = { json: 'json', console: 'pretty', tidb: 'auto' };
const encoder: Treatment = (value) => ({
  means: [meaning('log.format', typeof value === 'string' ? (encoders[value] ?? value) : value)],
  ...(value === 'tidb' && { warning: "TiDB's log format is not spoken here; log.format is auto" }),
});

const notByHttp = 'the HTTP API knows API keys and client certificates, see gateway.api-key';

/** By full name, or by the section whose every key it is for. */
const treatments: Readonly<Record<string, Treatment>> = {
  workdir: standsFor('data-dir'),
  'enable-traffic-replay': standsFor('proxy.enable-traffic-replay'),
  'api.addr': apiAddress,
  'api.proxy-protocol': ignored('the HTTP API takes no PROXY headers'),
  'api.enable-basic-auth': ignored(notByHttp),
  'api.user': ignored(notByHttp),
  'api.password': ignored(notByHttp),
  'proxy.advertise-addr': ignored('TiDB is not told of this proxy'),
  'proxy.conn-buffer-size': ignored('read buffers grow by need, from 2 KiB to 64 KiB'),
  'proxy.tcp-keep-alive': standsFor('proxy.frontend-keepalive.enabled'),
  'proxy.require-backend-tls': standsFor('security.require-backend-tls'),
  'proxy.public-endpoints': ignored('traffic is not metered for bills here'),
  'balance.routing-rule': ignored('namespaces choose by client network and port'),
  'log.encoder': encoder,
  'log.log-file': ignored('the log goes to standard output'),
  'advance.ignore-wrong-namespace': ignored('a session that fits no namespace is in the namespace default'),
  'security.encryption.key-path': standsFor('security.encryption-key-path'),
  'security.encryption': ignored('the key of encrypted captures is in security.encryption-key-path'),
  'security.server-http-tls.cert': standsFor('gateway.tls-cert-file'),
  'security.server-http-tls.key': standsFor('gateway.tls-key-file'),
  'security.server-http-tls.ca': standsFor('gateway.tls-ca-file'),
  'security.server-http-tls.min-tls-version': ignored('the HTTP API speaks TLS 1.2 and 1.3'),
  'security.server-http-tls.skip-ca': ignored('with an authority, clients must show a certificate'),
  ha: ignored('addresses that move between machines are left to keepalived, a load balancer or Kubernetes'),
  metering: ignored('traffic is not metered for bills here'),
  metrics: ignored('metrics are fetched from /metrics, not pushed'),
};

/** Sections that hold nothing but such keys, and so are none of ours. */
const sections: ReadonlySet<string> = new Set(['api', 'ha', 'metering', 'metrics', 'log.log-file', 'security.encryption', 'security.server-http-tls']);
const certificateKeys = /^security\.(server-tls|server-http-tls|cluster-tls|sql-tls)\.(auto-certs|rsa-key-size|autocert-expire-duration)$/;
const userTimeouts = /^proxy\.(frontend|backend-healthy|backend-unhealthy)-keepalive\.timeout$/;

/** `section` for a table whose keys are to be asked for one by one; undefined for a name that TiProxy does not know either. */
export function foreignKey(name: string, value: unknown): ForeignKey | 'section' | undefined {
  if (isTable(value) && [...sections].some((section) => name === section || name.startsWith(`${section}.`))) return 'section';
  if (certificateKeys.test(name)) return ignored('certificates are not made here: give files')(value);
  if (userTimeouts.test(name)) return ignored('Node.js leaves it to the system how long sent bytes may stay unacknowledged')(value);
  for (let known = name; known !== ''; known = known.slice(0, Math.max(0, known.lastIndexOf('.')))) {
    const treatment = Object.hasOwn(treatments, known) ? treatments[known] : undefined;
    if (treatment !== undefined) return treatment(value);
  }
  return undefined;
}
