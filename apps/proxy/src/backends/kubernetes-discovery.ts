import { readFile } from 'node:fs/promises';
import type { Clock } from '@binnacle/cluster-state/clock';
import { Agent, request, type Dispatcher } from 'undici';
import { addressOf, inOrder, type Discovered } from './discovery.js';
import { FoundBackends } from './found-backends.js';
import { limitedText } from './limited-text.js';

export interface KubernetesDiscoveryOptions {
  readonly namespace: string;
  readonly service: string;
  /** Number, or the name it has in the service. */
  readonly port: string;
  readonly cluster: string;
  readonly clock: Clock;
  /** Of the API server: `https://10.0.0.1:443`. */
  readonly server: string;
  /** Read again for every request: the kubelet replaces it. */
  readonly tokenFile: string;
  readonly caFile: string;
}

const account = '/var/run/secrets/kubernetes.io/serviceaccount';

/** How a pod finds its own cluster's API server; undefined outside of one. */
export function inCluster(env: NodeJS.ProcessEnv): Pick<KubernetesDiscoveryOptions, 'server' | 'tokenFile' | 'caFile'> | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host === undefined || host === '') return undefined;
  return { server: `https://${addressOf(host, Number(port))}`, tokenFile: `${account}/token`, caFile: `${account}/ca.crt` };
}

const listTimeoutMs = 10_000;
/** A watch ends by itself after this; without a word for longer the connection is dead. */
const watchSeconds = 300;
const watchSilenceMs = (watchSeconds + 30) * 1_000;
const retryMs = 1_000;
const retryMsMax = 30_000;
const bodyBytesMax = 64 * 1_048_576;
/** One slice has at most 1,000 endpoints. */
const lineBytesMax = 4 * 1_048_576;
const pagesMax = 1_000;
const backendsMax = 4_096;

interface Endpoint {
  readonly addresses?: readonly string[];
  readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean };
  readonly targetRef?: { readonly name?: string };
  readonly zone?: string;
}

export interface EndpointSlice {
  readonly metadata?: { readonly name?: string; readonly resourceVersion?: string };
  readonly addressType?: string;
  readonly endpoints?: readonly Endpoint[] | null;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
}

interface WatchEvent {
  readonly type?: string;
  readonly object?: EndpointSlice & { readonly code?: number; readonly message?: string };
}

/** The API server has forgotten where the watch was: everything has to be listed again. */
class Expired extends Error {}

/** The endpoints of one service: listed once, then watched, and the watch taken up again where it was. */
export class KubernetesDiscovery extends FoundBackends {
  readonly #options: KubernetesDiscoveryOptions;
  readonly #slices = new Map<string, EndpointSlice>();
  #listed = false;
  #version = '';
  readonly #stopped = new AbortController();
  #agent: Agent | undefined;

  constructor(options: KubernetesDiscoveryOptions) {
    super(`Kubernetes service ${options.namespace}/${options.service}`);
    this.#options = options;
  }

  start(changed: () => void): void {
    void this.#follow(changed);
  }

  stop(): void {
    this.#stopped.abort();
    void this.#agent?.destroy();
  }

  async #follow(changed: () => void): Promise<void> {
    let failures = 0;
    while (!this.#stopped.signal.aborted) {
      try {
        if (this.#version === '') await this.#list();
        this.#update('', changed);
        await this.#watch(() => {
          failures = 0;
          this.#update('', changed);
        });
        // Nothing is missed meanwhile: the next watch begins where this one ended.
        await this.#wait(retryMs);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (error instanceof Expired) this.#version = '';
        else this.#update(`${(error as Error).message}; what it was last counts`, changed);
        // An API server that has forgotten is asked at once, but not twice.
        await this.#wait(failures++ === 0 && error instanceof Expired ? 0 : Math.min(retryMs * 2 ** Math.min(failures - 1, 10), retryMsMax));
      }
    }
  }

  async #list(): Promise<void> {
    const slices: EndpointSlice[] = [];
    let version = '';
    let next = '';
    let pages = 0;
    do {
      const body = await this.#get(`&limit=500${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`, listTimeoutMs);
      const list = JSON.parse(await limitedText(body, bodyBytesMax)) as { metadata?: { resourceVersion?: string; continue?: string }; items?: EndpointSlice[] };
      slices.push(...(list.items ?? []));
      version = list.metadata?.resourceVersion ?? '';
      next = list.metadata?.continue ?? '';
    } while (next !== '' && ++pages < pagesMax);
    this.#slices.clear();
    for (const slice of slices) this.#slices.set(slice.metadata?.name ?? '', slice);
    this.#version = version;
    this.#listed = true;
  }

  /** Returns when the API server ends the watch, which it does every few minutes. */
  async #watch(changed: () => void): Promise<void> {
    const query = `&watch=1&allowWatchBookmarks=true&timeoutSeconds=${watchSeconds}&resourceVersion=${encodeURIComponent(this.#version)}`;
    const body = await this.#get(query, watchSilenceMs);
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of body as AsyncIterable<Buffer>) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop()!;
      if (rest.length > lineBytesMax) throw new Error(`an event of more than ${lineBytesMax} bytes`);
      let events = 0;
      for (const line of lines) if (line.trim() !== '') events += this.#obey(JSON.parse(line) as WatchEvent);
      if (events > 0) changed();
    }
  }

  #obey({ type, object }: WatchEvent): 0 | 1 {
    if (type === 'ERROR') {
      if (object?.code === 410) throw new Expired();
      throw new Error(`the watch ended: ${object?.message ?? 'no reason given'}`);
    }
    const { name, resourceVersion } = object?.metadata ?? {};
    if (resourceVersion !== undefined) this.#version = resourceVersion;
    if (name === undefined || type === 'BOOKMARK') return 0;
    if (type === 'DELETED') this.#slices.delete(name);
    else this.#slices.set(name, object!);
    return 1;
  }

  async #get(query: string, silenceMs: number): Promise<Dispatcher.ResponseData['body']> {
    const { server, namespace, service, tokenFile, caFile } = this.#options;
    this.#agent ??= new Agent({ connect: { ca: await readFile(caFile), timeout: listTimeoutMs } });
    const selector = encodeURIComponent(`kubernetes.io/service-name=${service}`);
    const url = `${server}/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices?labelSelector=${selector}${query}`;
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json' };
    const { signal } = this.#stopped;
    const { statusCode, body } = await request(url, { headers, dispatcher: this.#agent, headersTimeout: listTimeoutMs, bodyTimeout: silenceMs, signal });
    if (statusCode === 200) return body;
    await body.dump();
    if (statusCode === 410) throw new Expired();
    throw new Error(`the API server answers ${statusCode}`);
  }

  #update(problem: string, changed: () => void): void {
    const found = this.#listed ? backendsOf([...this.#slices.values()], this.#options.port, this.#options.cluster) : undefined;
    if (this.learn(found, problem)) changed();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stopped;
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#options.clock.after(ms, done);
      signal.addEventListener('abort', done);
    });
  }
}

/** Endpoints that are ready, and those that still serve while their pod is being stopped: those are to be left. The same one in two slices counts once. */
export function backendsOf(slices: readonly EndpointSlice[], port: string, cluster: string): Discovered[] {
  const found = new Map<string, Discovered>();
  for (const { addressType, endpoints, ports } of slices) {
    const number = /^\d+$/.test(port) ? Number(port) : ports?.find(({ name }) => name === port)?.port;
    if (number === undefined || addressType === 'FQDN') continue;
    for (const { addresses, conditions, targetRef, zone } of endpoints ?? []) {
      const host = addresses?.[0];
      // No condition means that it is ready.
      const ready = conditions?.ready !== false;
      const terminating = conditions?.terminating === true;
      if (host === undefined || (!ready && !(terminating && conditions?.serving === true)) || found.size === backendsMax) continue;
      const id = addressOf(host, number);
      if (found.has(id) && terminating) continue;
      found.set(id, {
        host,
        port: number,
        cluster,
        ...(targetRef?.name !== undefined && { names: [targetRef.name] }),
        ...(zone !== undefined && { labels: { zone } }),
        ...(terminating && { leaving: 'its pod is being stopped' }),
      });
    }
  }
  return inOrder(found.values());
}
