import { expect, test } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import { openApiDocument } from './openapi.js';
import { dialects } from './route.js';
import { listenerRoutes, routes } from './routes.js';

interface Operation {
  operationId: string;
  tags: string[];
  security?: unknown[];
  parameters: { $ref?: string; name?: string; in?: string }[];
  responses: Record<string, { $ref?: string }>;
}
type Paths = Record<string, Record<string, Operation>>;

const document = openApiDocument(listenerRoutes('all'), '1.2.3');
const paths = document['paths'] as Paths;
const operations = Object.values(paths).flatMap((item) => Object.values(item));

test.each(['all', ...dialects] as const)('the document of %s is valid OpenAPI 3.1', async (listener) => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(openApiDocument(listenerRoutes(listener), '1.2.3')));
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
  expect(validator.version).toBe('3.1');
});

test('it has every path of port 8080', () => {
  expect(operations).toHaveLength(listenerRoutes('all').length);
  expect(paths['/tiflash/sync-status/keyspace/{keyspace}/table/{table}']?.['get']?.parameters.slice(0, 2)).toEqual([
    { name: 'keyspace', in: 'path', required: true, schema: { type: 'string' } },
    { name: 'table', in: 'path', required: true, schema: { type: 'string' } },
  ]);
});

test('each operation has an id of its own, a tag per dialect and the target parameters', () => {
  const ids = operations.map((operation) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => !/^[a-zA-Z0-9]+$/.test(id))).toEqual([]);
  for (const operation of operations) {
    expect(operation.tags.length).toBeGreaterThan(0);
    expect(operation.parameters).toContainEqual({ $ref: '#/components/parameters/node' });
    expect(operation.parameters).toContainEqual({ $ref: '#/components/parameters/nodeHeader' });
  }
});

test('public operations need no key', () => {
  expect(paths['/health']?.['get']?.security).toEqual([]);
  expect(paths['/keys']?.['get']?.security).toBeUndefined();
});

test('every reference leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
  const components = document['components'] as Record<string, Record<string, unknown>>;
  expect(references.length).toBeGreaterThan(operations.length);
  expect(references.filter(([, kind = '', name = '']) => components[kind]?.[name] === undefined)).toEqual([]);
});

test('a table that names a path twice is refused', () => {
  expect(() => openApiDocument(routes, '1.2.3')).toThrow('is twice in the table');
});
