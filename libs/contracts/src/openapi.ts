import { errorStatus, type ErrorCode } from './errors.js';
import { dialects, type Dialect, type Route, type TargetRule } from './route.js';

/** The OpenAPI 3.1 document of a listener. `routes` must name each method and path once, as `listenerRoutes` does. */
export function openApiDocument(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    const item = (paths[path] ??= {});
    const method = route.method.toLowerCase();
    if (method in item) throw new Error(`${route.method} ${route.path} is twice in the table`);
    item[method] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Binnacle',
      version,
      description: 'The operations plane of a data cluster, in the dialects of TiFlash, TiProxy, gostatsd and Typesense.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: dialects.map((dialect) => ({ name: dialect, description: tagText[dialect] })),
    security: [{ apiKeyHeader: [] }, { apiKeyQuery: [] }, { bearer: [] }, { clientCertificate: [] }],
    paths,
    components: { parameters, schemas, responses, securitySchemes },
  };
}

const tagText: Readonly<Record<Dialect, string>> = {
  tiflash: "TiFlash's status port (20292).",
  tiproxy: "TiProxy's HTTP API (3080).",
  gostatsd: "gostatsd's HTTP servers (8081).",
  typesense: "Typesense's API (8108).",
  binnacle: "Binnacle's own API (8080).",
};

function operation(route: Route): Record<string, unknown> {
  const described = {
    operationId: operationId(route),
    summary: route.summary,
    description: `${targetText(route.target)} Scope: \`${route.action}\`.`,
    tags: [...route.dialects],
    ...(route.action === 'public' && { security: [] }),
  };
  return {
    ...described,
    parameters: [...pathParameters(route), ...queryParameters(route), ref('parameters', 'node'), ref('parameters', 'nodeHeader')],
    ...(route.method !== 'GET' && route.method !== 'DELETE' && { requestBody: requestBody(route) }),
    responses: responsesOf(route),
  };
}

/** `GET /debug/pprof/heap` of TiFlash is `getDebugPprofHeap`, `GET /keys/:id` is `getKeysById`: unique since path and method are. */
function operationId(route: Route): string {
  const words = route.path
    .split('/')
    .filter(Boolean)
    .map((word) => {
      const plain = word.replace(':', 'by-').split(/[^A-Za-z0-9]+/);
      return plain.map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('');
    });
  return route.method.toLowerCase() + words.join('');
}

function targetText(target: TargetRule): string {
  switch (target.kind) {
    case 'self':
      return `Answered by ${target.rather ? `a node of the role ${target.rather}, without one by ` : ''}the gateway itself, or by the named node.`;
    case 'role':
      return `Answered by any live node of the role ${target.role}${target.mode === undefined ? '' : ` in the mode ${target.mode}`}, or by the named one.`;
    case 'lease-owner':
      return `Answered by the owner of the lease ${target.lease}, or by the named node.`;
    case 'subject':
      return `The named node (${target.subjectRole === 'any' ? 'any' : `role ${target.subjectRole}`}) is what it is about; the role ${target.role} answers${target.together ? ', once for all nodes when that is `*`' : ''}.`;
  }
}

const ref = (kind: 'parameters' | 'responses', name: string): Record<string, string> => ({
  $ref: `#/components/${kind}/${name}`,
});

function pathParameters(route: Route): object[] {
  return [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(route: Route): object[] {
  return (route.query ?? []).map((parameter) => ({
    name: parameter.name,
    in: 'query',
    required: parameter.required ?? false,
    description: parameter.description,
    // `?force` and `?verbose` are given without a value.
    ...(parameter.type === 'boolean' && { allowEmptyValue: true }),
    schema: { type: parameter.type },
  }));
}

function requestBody(route: Route): object {
  return { description: `At most ${route.bodyBytesMax} bytes.`, content: { '*/*': {} } };
}

const created = new Set([
  'POST /operations/snapshot',
  'POST /config',
  'POST /keys',
  'POST /collections',
  'POST /collections/:collection/documents',
]);
const accepted = new Set(['POST /v2/raw', 'POST /v2/event', 'POST /v1/raw', 'POST /v1/event']);

function successStatus(route: Route): string {
  const name = `${route.method} ${route.path}`;
  if (created.has(name)) return '201';
  return accepted.has(name) ? '202' : '200';
}

function responsesOf(route: Route): Record<string, object> {
  const success = { [successStatus(route)]: { description: route.summary, content: { [route.produces]: {} } } };
  const codes: readonly ErrorCode[] = [
    'BAD_REQUEST',
    ...(route.action === 'public' ? [] : (['UNAUTHENTICATED', 'CERTIFICATE_ROLE', 'TOO_MANY_ATTEMPTS'] as const)),
    'UNKNOWN_NODE',
    'BODY_TOO_LARGE',
    ...(route.operation ? (['WRITES_SKIPPED'] as const) : []),
    'UPSTREAM_UNREACHABLE',
    'NO_TARGET',
    'UPSTREAM_TIMEOUT',
  ];
  return {
    ...success,
    ...Object.fromEntries(codes.map((code) => [String(errorStatus(code)), ref('responses', code)])),
    default: ref('responses', 'INTERNAL'),
  };
}

const errorText: Partial<Record<ErrorCode, string>> = {
  BAD_REQUEST: 'A parameter or the body is not valid; the message says which.',
  UNAUTHENTICATED: 'No valid key, or one without the scope.',
  CERTIFICATE_ROLE: "The client certificate's common name is not let in.",
  TOO_MANY_ATTEMPTS: 'Too many failed attempts from this address.',
  UNKNOWN_NODE: 'The named node is not in the registry, or what the path names does not exist.',
  BODY_TOO_LARGE: 'The body is over the limit.',
  WRITES_SKIPPED: '`skip-writes` is on.',
  UPSTREAM_UNREACHABLE: 'The node broke the connection.',
  NO_TARGET: 'No live node serves this, the limit of requests on their way is reached, or cluster state is away.',
  UPSTREAM_TIMEOUT: 'The node did not answer within the deadline of the route.',
  INTERNAL: 'Anything else.',
};

const responses = Object.fromEntries(
  Object.entries(errorText).map(([code, description]) => [
    code,
    {
      description,
      // Which of these it is depends on the dialect that the listener, or on port 8080 the path, speaks.
      content: {
        'application/json': { schema: { $ref: '#/components/schemas/Error' } },
        'text/plain': { schema: { type: 'string' } },
      },
    },
  ]),
);

const schemas = {
  Error: {
    description: "An error in the form of the listener's dialect; TiFlash and gostatsd say it as plain text.",
    anyOf: [
      {
        title: 'binnacle',
        type: 'object',
        required: ['error'],
        properties: {
          error: {
            type: 'object',
            required: ['code', 'message'],
            properties: { code: { type: 'string' }, message: { type: 'string' } },
          },
        },
      },
      {
        title: 'typesense',
        type: 'object',
        required: ['message'],
        properties: { message: { type: 'string' }, code: { type: 'string' } },
      },
      { title: 'tiproxy', type: 'string' },
    ],
  },
};

const parameters = {
  node: {
    name: 'node',
    in: 'query',
    description:
      'Id of the target node; `*`, on routes that only read or that act on one node, asks every node that could be named and answers with an object by node id; profiles of all nodes are merged into one. Naming a node needs a key on public paths too.',
    schema: { type: 'string', maxLength: 64 },
  },
  nodeHeader: {
    name: 'X-Binnacle-Node',
    in: 'header',
    description: 'The same as `node`, which comes first.',
    schema: { type: 'string', maxLength: 64 },
  },
};

const securitySchemes = {
  apiKeyHeader: { type: 'apiKey', in: 'header', name: 'X-TYPESENSE-API-KEY' },
  apiKeyQuery: { type: 'apiKey', in: 'query', name: 'x-typesense-api-key' },
  bearer: { type: 'http', scheme: 'bearer' },
  clientCertificate: { type: 'mutualTLS' },
};
