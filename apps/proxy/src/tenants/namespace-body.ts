import { BinnacleError } from '@binnacle/contracts/errors';
import { didYouMean } from '@binnacle/node-kit/nearest-name';
import { isNetwork, isPeer, isTable } from '@binnacle/node-kit/value-forms';
import { plainToInstance, Type } from 'class-transformer';
import { ArrayMaxSize, ArrayUnique, IsArray, IsIn, IsInt, IsNumber, IsObject, IsString, Matches, Max, MaxLength, Min, ValidateBy, ValidateNested, validateSync, type ValidationError } from 'class-validator';
import type { BackendRole } from '../backends/backend.js';
import { noLimits, type NamespaceView } from './namespace-document.js';

/*
 * A namespace as TiProxy's API has it, with the same names, and what we add: more than one user, networks, ports, a role, limits, statements
 * that are refused.
 */

const listMax = 1_000;
/** A million a second is more than a proxy forwards; a day is longer than a client waits. */
const countMax = 10_000_000;

function Each(what: string, holds: (value: unknown) => boolean): PropertyDecorator {
  return ValidateBy({ name: 'each', validator: { validate: (value) => Array.isArray(value) && value.every(holds), defaultMessage: () => `each value of $property must be ${what}` } });
}

const isName = (value: unknown): boolean => typeof value === 'string' && value !== '' && value.length <= 128 && !value.includes('\0');
const isPort = (value: unknown): boolean => Number.isInteger(value) && (value as number) > 0 && (value as number) <= 65_535;
const isDigest = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-fA-F]{64}$/.test(value);

class FrontendBody {
  /** TiProxy's; the same as one in `users`. */
  @IsString() @MaxLength(128) user = '';
  @IsArray() @ArrayMaxSize(listMax) @Each('a name, with * and ? for any characters', isName) users: string[] = [];
  @IsArray() @ArrayMaxSize(listMax) @Each('a network such as 10.0.0.0/8', isNetwork) cidrs: string[] = [];
  @IsArray() @ArrayMaxSize(listMax) @ArrayUnique() @Each('a port', isPort) ports: number[] = [];
  /** TiProxy keeps certificates here and does not use them; neither do we: there is one for the port. */
  @IsObject() security: object = {};
}

class BackendBody {
  @IsArray() @ArrayMaxSize(listMax) @ArrayUnique() @Each('host:port', isPeer) instances: string[] = [];
  /** A cluster of `proxy.backend-clusters`, instead of instances of its own. */
  @IsString() @Matches(/^\S{0,64}$/) cluster = '';
  @IsIn(['writer', 'replica', 'any']) role: BackendRole = 'writer';
  /** TiProxy's; `balance.routing-policy` chooses here. */
  @IsString() @MaxLength(64) 'selector-type' = '';
  @IsObject() security: object = {};
}

class LimitsBody {
  @IsInt() @Min(0) @Max(countMax) connections = 0;
  @IsInt() @Min(0) @Max(countMax) 'connections-per-user' = 0;
  @IsNumber() @Min(0) @Max(countMax) 'queries-per-second' = 0;
  @IsInt() @Min(0) @Max(countMax) 'queries-burst' = 0;
  @IsInt() @Min(0) @Max(countMax) 'concurrent-queries' = 0;
  @IsInt() @Min(0) @Max(100_000) 'queue-max' = noLimits.queueMax;
  @IsInt() @Min(0) @Max(60_000) 'queue-wait-ms' = noLimits.queueWaitMs;
}

export class NamespaceBody {
  @IsString() @Matches(/^[A-Za-z0-9._-]{1,64}$/) namespace = '';
  @ValidateNested() @Type(() => FrontendBody) frontend = new FrontendBody();
  @ValidateNested() @Type(() => BackendBody) backend = new BackendBody();
  @ValidateNested() @Type(() => LimitsBody) limits = new LimitsBody();
  @IsArray() @ArrayMaxSize(listMax) @Each('a digest of 64 hexadecimal digits', isDigest) 'refuse-digests': string[] = [];
}

/** BAD_REQUEST for what is no namespace: the first rule it breaks, or the first key that is not known with the nearest one that is. */
export function parseNamespaceBody(name: string, body: unknown): NamespaceBody {
  if (!isTable(body)) throw bad('bad namespace json');
  const named = { ...body, namespace: body['namespace'] ?? name };
  if (named.namespace !== name) throw bad(`the namespace in the body is ${JSON.stringify(named.namespace).slice(0, 80)}, and "${name}" in the path`);
  refuseUnknown(named, new NamespaceBody(), '');
  const instance = plainToInstance(NamespaceBody, named, { exposeDefaultValues: true });
  const [error] = validateSync(instance, { forbidUnknownValues: true });
  if (error !== undefined) throw bad(complaint(error, ''));
  if (instance.backend.cluster !== '' && instance.backend.instances.length > 0) throw bad('backend.cluster and backend.instances are both given: leave one out');
  return instance;
}

const bad = (message: string): BinnacleError => new BinnacleError('BAD_REQUEST', message);

function refuseUnknown(given: Readonly<Record<string, unknown>>, known: object, path: string): void {
  for (const [name, value] of Object.entries(given)) {
    const shown = `${path}${name}`.slice(0, 128);
    if (!Object.hasOwn(known, name)) throw bad(`\`${shown}\` is not known${didYouMean(name.slice(0, 64), Object.keys(known))}`);
    const inner: unknown = known[name as keyof object];
    const isNested = isTable(inner) && Object.keys(inner).length > 0;
    if (isNested && !isTable(value)) throw bad(`\`${shown}\` must be an object`);
    if (isNested) refuseUnknown(value as Record<string, unknown>, inner, `${path}${name}.`);
  }
}

function complaint(error: ValidationError, path: string): string {
  const [inner] = error.children ?? [];
  const name = `${path}${error.property}`;
  if (inner !== undefined) return complaint(inner, `${name}.`);
  // What kind of value it must be tells more than how large it may be.
  const rules = Object.entries(error.constraints ?? {});
  const [, broken = 'is not allowed'] = rules.find(([rule]) => rule.startsWith('is')) ?? rules[0] ?? [];
  return broken.replace(error.property, name);
}

/** The cluster that a namespace with instances of its own makes. */
const ownCluster = (namespace: string): string => `namespace:${namespace}`;

/** What is in effect of a namespace. */
export function namespaceView({ namespace, frontend, backend, limits, 'refuse-digests': refuseDigests }: NamespaceBody): NamespaceView {
  return {
    namespace,
    users: [...new Set([...(frontend.user === '' ? [] : [frontend.user]), ...frontend.users])],
    cidrs: frontend.cidrs,
    ports: frontend.ports,
    cluster: backend.cluster || (backend.instances.length > 0 ? ownCluster(namespace) : 'default'),
    instances: backend.instances,
    role: backend.role,
    limits: {
      connections: limits.connections,
      connectionsPerUser: limits['connections-per-user'],
      queriesPerSecond: limits['queries-per-second'],
      queriesBurst: limits['queries-burst'],
      concurrentQueries: limits['concurrent-queries'],
      queueMax: limits['queue-max'],
      queueWaitMs: limits['queue-wait-ms'],
    },
    refuseDigests,
  };
}
