import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { getSystemErrorMessage } from 'node:util';
import { ConfigError } from './config-error.js';
import type { NodeConfig } from './config.js';

export interface Identity {
  readonly id: string;
  readonly clusterSecret: string;
}

/**
 * Who this node is: from the configuration, else from the data folder (`node-id`, `cluster-secret`), made up at the first start.
 * Throws `ConfigError` when the data folder cannot be used.
 */
export function openIdentity(config: NodeConfig, roles: readonly string[]): Identity {
  try {
    makeFolder(config.dataDir);
    return {
      id: config.node.id || keptText(join(config.dataDir, identityFile(roles)), () => madeUpId(roles), 0o644, /^[A-Za-z0-9._-]{1,64}$/),
      clusterSecret:
        config.node.clusterSecret || keptText(join(config.dataDir, 'cluster-secret'), () => randomBytes(32).toString('hex'), 0o600, /^[\x21-\x7e]{16,256}$/),
    };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, errno } = error as NodeJS.ErrnoException;
    const reason = code === undefined || errno === undefined ? String(error) : `${code}, ${getSystemErrorMessage(errno)}`;
    throw new ConfigError([`the data folder ${config.dataDir} cannot be used: ${reason}; set data-dir (BINNACLE_DATA_DIR) to another, or mend this one`]);
  }
}

/**
 * Makes the folder and those above it that are missing, for this user alone: it holds secrets. One by one, because Node.js, told to make
 * them all, never returns where the system refuses with ENOENT (under /proc).
 */
function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let folder = resolve(path); !existsSync(folder); folder = dirname(folder)) missing.unshift(folder);
  for (const folder of missing) {
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      // Another process that starts at the same time was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  if (!statSync(path).isDirectory()) throw new ConfigError([`the data folder ${path} is a file: set data-dir (BINNACLE_DATA_DIR) to a folder`]);
}

/** The file in the data folder with the node's id. Processes of different roles may share a data folder on one machine and must not share an id. */
export function identityFile(roles: readonly string[]): string {
  return roles.length === 1 ? `node-id.${roles[0]}` : 'node-id';
}

function madeUpId(roles: readonly string[]): string {
  const host = hostname().split('.')[0]?.replace(/[^A-Za-z0-9-]/g, '').slice(0, 30) || 'node';
  const role = (roles.length === 1 ? roles[0] : 'node')?.replace(/[^A-Za-z0-9-]/g, '').slice(0, 20);
  return `${host}-${role}-${randomBytes(3).toString('hex')}`;
}

/**
 * The text of a file, written first when there is none. Several processes that start at once on one folder agree: each writes a file
 * of its own and links it to the name, which only one can; so nobody reads a half-written one.
 */
function keptText(file: string, make: () => string, mode: number, shape: RegExp): string {
  const known = readKept(file, shape);
  if (known !== undefined) return known;
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(draft, `${make()}\n`, { mode, flag: 'wx', flush: true });
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return readKept(file, shape) as string;
}

function readKept(file: string, shape: RegExp): string | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (!shape.test(text)) throw new ConfigError([`${file} is damaged: remove it, a new one is made at the next start`]);
  return text;
}

/** Where others reach a listener: what is configured, else the bound address, else (bound to every address) the first outward one. */
export function advertisedHost(config: NodeConfig, boundHost: string): string {
  if (config.node.advertiseHost) return config.node.advertiseHost;
  if (boundHost !== '0.0.0.0' && boundHost !== '::') return boundHost;
  const outward = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []).filter((address) => !address.internal);
  return outward.find((address) => address.family === 'IPv4')?.address ?? outward[0]?.address ?? '127.0.0.1';
}
