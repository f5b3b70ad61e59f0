import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import type { NodeConfig } from '@binnacle/node-kit/config';
import { configKeys } from '@binnacle/node-kit/config-schema';
import { loadConfig } from '@binnacle/node-kit/load-config';
import { profilingMallocConf } from '@binnacle/profiler/jemalloc';
import { parse, parseAllDocuments } from 'yaml';
import { composeProblems, kubernetesProblems } from './deployment-schemas.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const text = (path: string): string => readFileSync(`${root}/${path}`, 'utf8');
/** Of Node.js, where rows are stored or sessions held and nowhere else. */
const heapFlag = '--max-semi-space-size=8';
const flagged = ['storage', 'proxy'];
const mainOf = (app: string): string => `apps/${app}/dist/main.js`;
const yaml = (path: string): unknown[] =>
  parseAllDocuments(text(path)).map((document) => document.toJS({ maxAliasCount: 200 }) as unknown);

interface EnvironmentVariable {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef?: { name: string; key: string }; fieldRef?: { fieldPath: string } };
}

interface Probe {
  httpGet?: { path: string; port: string };
  tcpSocket?: { port: string };
  exec?: { command: string[] };
}

interface Container {
  name: string;
  image: string;
  args?: string[];
  command?: string[];
  env?: EnvironmentVariable[];
  ports: { name: string; containerPort: number; protocol?: string }[];
  startupProbe?: Probe;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  lifecycle?: { preStop?: { exec?: { command: string[] } } };
  securityContext: { allowPrivilegeEscalation: boolean; readOnlyRootFilesystem: boolean; capabilities: { drop: string[] } };
  resources: { requests: { cpu: string; memory: string }; limits: { memory: string } };
  volumeMounts: { name: string; mountPath: string }[];
}

interface PodSpec {
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken: boolean;
  enableServiceLinks: boolean;
  securityContext: { runAsNonRoot: boolean; runAsUser: number; seccompProfile: { type: string } };
  topologySpreadConstraints?: { topologyKey: string }[];
  containers: Container[];
  volumes?: { name: string }[];
}

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec: {
    selector: Record<string, string> & { matchLabels: Record<string, string> };
    template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
    volumeClaimTemplates?: { metadata: { name: string } }[];
    ports: { port: number; targetPort: string; protocol?: string }[];
    podSelector: { matchLabels?: Record<string, string> };
    ingress?: { ports: { port: string | number; protocol: string }[] }[];
    replicas: number;
    serviceName?: string;
    clusterIP?: string;
    maxUnavailable: number;
  };
}

const folder = 'deploy/kubernetes';
const kustomization = yaml(`${folder}/kustomization.yaml`)[0] as {
  resources: string[];
  images: { name: string; newTag: string }[];
  configMapGenerator: { name: string; literals: string[] }[];
};
const manifests = kustomization.resources.flatMap((file) => yaml(`${folder}/${file}`)) as Manifest[];
const workloads = manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
const nodes = workloads.filter(({ spec }) => spec.template.metadata.labels['binnacle-node'] === 'true');
const containerOf = (workload: Manifest): Container => workload.spec.template.spec.containers[0] as Container;
const stateful = ['storage', 'profiling', 'ingest'];
const apps = ['cluster', 'gateway', 'health', 'ingest', 'profiling', 'proxy', 'storage'];

/** `NAME=value` of the image's ENV lines. */
const imageEnvironment = Object.fromEntries(
  [...text('Dockerfile').matchAll(/^(?:ENV|\s+)\s*([A-Z_]+)=(\S+)(?: \\)?$/gm)].map(([, name, value]) => [
    name as string,
    value as string,
  ]),
);
const mapEnvironment = Object.fromEntries(
  kustomization.configMapGenerator.flatMap(({ literals }) => literals.map((literal) => literal.split('=') as [string, string])),
);
const valueLike: Record<string, string> = {
  BINNACLE_NODE_ADVERTISE_HOST: '10.0.0.7',
  BINNACLE_REDIS_URL: 'redis://:x@redis:6379/0',
};
/** What a proxy takes on purpose before it ends: its clients get it on top. */
const sessionsMs = (app: string, { proxy }: NodeConfig): number => (app === 'proxy' ? (proxy.gracefulWaitBeforeShutdownS + proxy.gracefulCloseConnTimeoutS) * 1_000 : 0);
const knownNames = new Set(configKeys.flatMap((key) => (key.secret ? [key.env, `${key.env}_FILE`] : [key.env])));
const unknownNames = (names: readonly string[]): string[] =>
  names.filter((name) => name.startsWith('BINNACLE_') && !knownNames.has(name));

describe('the image', () => {
  const dockerfile = text('Dockerfile');
  const stages = [...dockerfile.matchAll(/^FROM (\S+)(?: AS (\S+))?$/gm)];

  test('is built on one pinned base, as a user that is not root, and checks its own liveness', () => {
    const bases = stages.map(([, base]) => base).filter((base) => !stages.some(([, , name]) => name === base));
    expect([...new Set(bases)]).toEqual(['node:24-bookworm-slim']);
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(last).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
    expect(last).toMatch(/^HEALTHCHECK [\s\S]*?CMD \["node", "-e", .*\/livez/m);
    expect(last).toMatch(/^ENTRYPOINT \["node"/m);
    expect(last).not.toMatch(/^(RUN|COPY).*npm ci(?!.*--omit=dev)/m);
    expect(dockerfile).toMatch(/AS dependencies\nRUN .*npm ci --omit=dev/);
  });

  test('knows every project of the workspace', () => {
    const projects = ['apps', 'libs'].flatMap((kind) => readdirSync(`${root}/${kind}`).map((name) => `${kind}/${name}`));
    const copied = [...dockerfile.matchAll(/^COPY (\S+)\/package\.json \S+\/$/gm)].map(([, project]) => project as string);
    expect(copied.sort()).toEqual(projects.sort());
  });

  test('starts Node.js and jemalloc, with profiling compiled in, as `npm start` does', () => {
    expect(dockerfile).toContain(imageEnvironment['LD_PRELOAD'] ?? '?');
    const conf = imageEnvironment['MALLOC_CONF'] ?? '?';
    expect(conf.startsWith(`${profilingMallocConf},`)).toBe(true);
    const launcher = text('apps/cli/launch/preload.mjs');
    expect(launcher).toContain(`'${conf}'`);
    expect(dockerfile).toMatch(/install .*libjemalloc2/);
    const [, flags] = /^ENTRYPOINT \["node", (.+)\]$/m.exec(dockerfile) ?? [];
    expect(launcher).toContain(`nodeFlags = [${flags?.replaceAll('"', "'")}]`);
    expect(launcher).toContain(`storageFlags = ['${heapFlag}']`);
    expect(dockerfile).toContain(`\nCMD ["${heapFlag}", "apps/cli/dist/main.js", "start"]`);
  });

  test('sets only keys that exist, and refuses to start without secrets', () => {
    expect(unknownNames(Object.keys(imageEnvironment))).toEqual([]);
    expect(Object.keys(imageEnvironment)).toContain('BINNACLE_NODE_HOST');
    expect(() => loadConfig({ argv: [], env: imageEnvironment })).toThrow('cluster secret');
  });

  test('takes no secret, no dependency and no build of this machine into its context', () => {
    const ignored = text('.dockerignore').split('\n');
    expect(ignored.filter((line) => line !== '' && !line.startsWith('#'))[0]).toBe('*');
    for (const line of ['**/node_modules', '**/dist', '**/.env', '**/data']) expect(ignored).toContain(line);
  });
});

describe('docker-compose.yml', () => {
  interface Service {
    image: string;
    build?: string;
    command?: string[];
    environment?: Record<string, string>;
    ports?: string[];
    read_only: boolean;
    cap_drop: string[];
    security_opt: string[];
    tmpfs: string[];
    volumes?: string[];
    networks: string[];
    depends_on?: Record<string, { condition: string }>;
    healthcheck?: { test: string[] };
    stop_grace_period?: string;
  }
  const file = parse(text('docker-compose.yml'), { merge: true, maxAliasCount: 200 }) as {
    services: Record<string, Service>;
    volumes: object;
    networks: Record<string, { internal?: boolean }>;
  };
  const services = Object.entries(file.services);
  const ours = services.filter(([, service]) => service.build !== undefined);

  test('is valid by the Compose Specification', () => {
    expect(composeProblems(file)).toEqual([]);
    expect(composeProblems({ services: { a: { image: 'a', read_onyl: true } } })).not.toEqual([]);
  });

  test('runs two storage nodes, every other app once, two MariaDB servers, Redis and an S3 server', () => {
    const started = ours.map(([, service]) => /^apps\/(\w+)\/dist\/main\.js$/.exec(service.command?.at(-1) ?? '')?.[1]);
    for (const [, { command = [] }] of ours) expect(command.slice(0, -1)).toEqual(flagged.some((app) => command.includes(mainOf(app))) ? [heapFlag] : []);
    expect(started.sort()).toEqual([...apps, 'storage'].sort());
    const images = services.filter(([, service]) => !service.build).map(([, service]) => service.image.split(':')[0]);
    expect(images.sort()).toEqual(['mariadb', 'mariadb', 'minio/minio', 'redis']);
  });

  test.each(services)('hardens %s', (_name, service) => {
    expect(service.read_only).toBe(true);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toEqual(['no-new-privileges:true']);
    expect(service.image).toMatch(/:[\w.-]+$/);
    expect(service.image).not.toMatch(/:latest$/);
    for (const volume of service.volumes ?? []) expect(file.volumes).toHaveProperty(volume.split(':')[0] ?? '');
  });

  test.each(ours)('starts %s once Redis is well, with a place to write and time to drain', (name, service) => {
    expect(service.depends_on).toEqual({ redis: { condition: 'service_healthy' } });
    const writable = [
      ...service.tmpfs.map((entry) => entry.split(':')[0]),
      ...(service.volumes ?? []).map((entry) => entry.split(':')[1]),
    ];
    expect(writable.sort()).toEqual(['/data', '/tmp']);
    const config = loadConfig({ argv: [], env: { ...imageEnvironment, ...filledIn(service) } });
    expect(Number.parseInt(service.stop_grace_period ?? '', 10) * 1_000).toBeGreaterThan(config.node.shutdownDeadlineMs + sessionsMs(name, config));
    expect([config.node.id, config.node.advertiseHost]).toEqual([name, name]);
  });

  const filledIn = (service: Service): Record<string, string> =>
    Object.fromEntries(
      Object.entries(service.environment ?? {}).map(([name, value]) => [
        name,
        value.replaceAll(/\$\{\w+:\?[^}]*\}/g, '0123456789abcdef'),
      ]),
    );

  test.each(services)('gives %s no default password and no unknown key', (_name, service) => {
    const environment = service.environment ?? {};
    expect(unknownNames(Object.keys(environment))).toEqual([]);
    const secrets = Object.entries(environment).filter(([name]) => /SECRET|PASSWORD|API_KEY|REDIS_URL/.test(name));
    expect(secrets.length).toBeGreaterThan(0);
    for (const [, value] of secrets) expect(value).toMatch(/\$\{\w+:\?.+\}/);
  });

  test('lets the machine itself reach the gateway, the SQL proxy and the statsd port, and nobody reach anything else', () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port]));
    expect(published).toEqual([
      ...[8080, 20292, 3080, 8081, 8108].map((port) => ['gateway', `127.0.0.1:${port}:${port}`]),
      ['ingest', '127.0.0.1:8125:8125/udp'],
      ['ingest', '127.0.0.1:8125:8125/tcp'],
      ['proxy', '127.0.0.1:6000:6000'],
    ]);
    expect(file.networks['cluster']).toEqual({ internal: true });
    for (const [name, service] of services)
      expect(service.networks).toEqual(['gateway', 'ingest', 'proxy'].includes(name) ? ['cluster', 'outside'] : ['cluster']);
  });

  test('has Redis write every change to the disk, and a check of every server it does not build', () => {
    const command = file.services['redis']?.command?.join('\n') ?? '';
    expect(command).toContain('appendonly yes');
    expect(command).toContain('appendfsync always');
    for (const [, service] of services.filter(([, each]) => !each.build)) expect(service.healthcheck?.test[0]).toMatch(/^CMD/);
  });
});

describe('the Kubernetes manifests', () => {
  test('are all in the kustomization, but for the example of a secret', () => {
    const files = readdirSync(`${root}/${folder}`).filter((file) => file.endsWith('.yaml'));
    expect(files.sort()).toEqual([...kustomization.resources, 'kustomization.yaml', 'secret.example.yaml'].sort());
  });

  test.each(manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest] as const))(
    '%s is valid',
    async (_name, manifest) => {
      expect(await kubernetesProblems(manifest)).toEqual([]);
    },
  );

  test('would not be valid with a field of the wrong kind, or a name misspelt deep inside', async () => {
    const wrong = structuredClone(nodes[0] as Manifest) as unknown as {
      apiVersion: string;
      kind: string;
      spec: Record<string, unknown>;
    };
    wrong.spec['replicas'] = '2';
    expect(await kubernetesProblems(wrong)).toEqual([expect.stringContaining('/spec/replicas type')]);
    const misspelt = structuredClone(nodes[0] as Manifest);
    Object.assign(containerOf(misspelt), { livenessProb: {} });
    expect(await kubernetesProblems(misspelt)).toEqual(['/spec/template/spec/containers/0/livenessProb is an unknown field']);
  });

  test('run every app; those that keep something have disks of their own', () => {
    const run = nodes.map((node) => [node.kind, node.metadata.name, containerOf(node).args]);
    expect(run.sort()).toEqual(
      apps.map((app) => [stateful.includes(app) ? 'StatefulSet' : 'Deployment', app, [...(flagged.includes(app) ? [heapFlag] : []), mainOf(app)]]).sort(),
    );
    for (const { metadata, spec } of nodes.filter(({ kind }) => kind === 'StatefulSet')) {
      expect([metadata.name, spec.replicas]).toEqual([metadata.name, metadata.name === 'profiling' ? 1 : 2]);
      expect(spec.volumeClaimTemplates?.map((claim) => claim.metadata.name)).toEqual(['data']);
      expect(spec.template.spec.volumes?.map(({ name }) => name)).toEqual(['tmp']);
      expect(manifests.find((each) => each.kind === 'Service' && each.metadata.name === spec.serviceName)?.spec.clusterIP).toBe('None');
    }
  });

  test.each(nodes.map((node) => [node.metadata.name, node] as const))('%s is probed on its node port', (_name, node) => {
    const container = containerOf(node);
    expect(container.startupProbe?.httpGet).toEqual({ path: '/livez', port: 'node' });
    expect(container.livenessProbe?.httpGet).toEqual({ path: '/livez', port: 'node' });
    expect(container.readinessProbe?.httpGet).toEqual({ path: '/readyz', port: 'node' });
    expect(container.ports.find(({ name }) => name === 'node')?.containerPort).toBe(
      Number(imageEnvironment['BINNACLE_NODE_PORT']),
    );
  });

  test.each(nodes.map((node) => [node.metadata.name, node] as const))(
    '%s starts with what it is given, and has time to drain',
    (_name, node) => {
      const container = containerOf(node);
      const given = Object.fromEntries(
        (container.env ?? []).map(({ name, value }) => [name, value ?? valueLike[name] ?? '0123456789abcdef']),
      );
      const config = loadConfig({ argv: [], env: { ...imageEnvironment, ...mapEnvironment, ...given } });
      const [sleep, seconds] = container.lifecycle?.preStop?.exec?.command ?? [];
      expect(sleep).toBe('sleep');
      const graceMs = node.spec.template.spec.terminationGracePeriodSeconds * 1_000;
      expect(graceMs).toBeGreaterThan(Number(seconds) * 1_000 + config.node.shutdownDeadlineMs + sessionsMs(node.metadata.name, config));
      expect(container.volumeMounts.map(({ mountPath }) => mountPath).sort()).toEqual(['/data', '/tmp']);
      expect(node.spec.template.spec.enableServiceLinks).toBe(false);
      const from = (name: string) => container.env?.find((variable) => variable.name === name)?.valueFrom;
      expect(from('BINNACLE_NODE_ID')?.fieldRef?.fieldPath).toBe('metadata.name');
      expect(from('BINNACLE_NODE_ADVERTISE_HOST')?.fieldRef?.fieldPath).toBe('status.podIP');
    },
  );

  test.each(workloads.map((workload) => [workload.metadata.name, workload] as const))(
    '%s is not root and writes nowhere but its volumes',
    (_name, workload) => {
      const pod = workload.spec.template.spec;
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(pod.securityContext.runAsUser).toBeGreaterThan(0);
      expect(pod.automountServiceAccountToken).toBe(false);
      expect(pod.containers).toHaveLength(1);
      const { securityContext, resources } = containerOf(workload);
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(Object.keys(resources.requests).sort()).toEqual(['cpu', 'memory']);
      expect(resources.limits).toHaveProperty('memory');
    },
  );

  test('take every secret by reference, and the example names exactly these', () => {
    const variables = workloads.flatMap((workload) => containerOf(workload).env ?? []);
    const secrets = variables.filter(({ name }) => /SECRET|PASSWORD|API_KEY|REDIS_URL/.test(name));
    for (const { value, valueFrom } of secrets) expect([value, valueFrom?.secretKeyRef?.name]).toEqual([undefined, 'binnacle']);
    const example = yaml(`${folder}/secret.example.yaml`)[0] as { stringData: Record<string, string> };
    expect([...new Set(secrets.map(({ valueFrom }) => valueFrom?.secretKeyRef?.key))].sort()).toEqual(
      Object.keys(example.stringData).sort(),
    );
    expect(Object.values(example.stringData).join('')).toBe('');
  });

  test('set only keys that exist', () => {
    const names = workloads.flatMap((workload) => (containerOf(workload).env ?? []).map(({ name }) => name));
    expect(unknownNames([...names, ...Object.keys(mapEnvironment)])).toEqual([]);
  });

  test('give every node a disruption budget that allows one at a time, and spread it', () => {
    const budgets = manifests.filter(({ kind }) => kind === 'PodDisruptionBudget');
    expect(budgets.map(({ spec }) => spec.selector.matchLabels['app.kubernetes.io/name']).sort()).toEqual(apps);
    for (const { spec } of budgets) expect(spec.maxUnavailable).toBe(1);
    for (const { spec } of nodes) {
      const keys = spec.template.spec.topologySpreadConstraints?.map(({ topologyKey }) => topologyKey);
      expect(keys).toEqual(['topology.kubernetes.io/zone', 'kubernetes.io/hostname']);
    }
  });

  test('have services and policies that name ports the pods have', () => {
    const portOf = (name: string | number, protocol = 'TCP'): string => `${name}/${protocol}`;
    const portsOf = (labels: Record<string, string>): string[] =>
      workloads
        .filter(({ spec }) => Object.entries(labels).every(([name, value]) => spec.template.metadata.labels[name] === value))
        .flatMap((workload) => containerOf(workload).ports.map(({ name, protocol }) => portOf(name, protocol)));
    for (const { spec } of manifests.filter(({ kind }) => kind === 'Service'))
      for (const { targetPort, protocol } of spec.ports) expect(portsOf(spec.selector)).toContain(portOf(targetPort, protocol));
    for (const { spec } of manifests.filter(({ kind }) => kind === 'NetworkPolicy'))
      for (const { port, protocol } of spec.ingress?.flatMap(({ ports }) => ports) ?? [])
        expect(portsOf(spec.podSelector.matchLabels ?? {})).toContain(portOf(port, protocol));
  });

  test('deny what no policy allows, and open only the gateway, the SQL port and the statsd port to clients', () => {
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
    const deny = policies.find(({ metadata }) => metadata.name === 'default-deny');
    expect(deny?.spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    const open = policies.filter((policy) => JSON.stringify(policy.spec.ingress ?? []).includes('binnacle-client'));
    expect(open.map(({ metadata }) => metadata.name)).toEqual(['gateway', 'proxy', 'ingest']);
  });
});
