import { WatchedDocument } from '@binnacle/cluster-state/watched-document';
import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { isTable } from '@binnacle/node-kit/value-forms';
import { Injectable } from '@nestjs/common';
import { ProxySettings } from '../settings/proxy-settings.js';
import { namespaceView, parseNamespaceBody, type NamespaceBody } from './namespace-body.js';
import { defaultNamespace, type NamespaceView } from './namespace-document.js';

type Bodies = Readonly<Record<string, NamespaceBody>>;

interface Stored {
  /** As they were put. */
  readonly put: Bodies;
  /** As they were when they were committed. */
  readonly committed: Bodies;
}

const namespacesMax = 1_000;
/** Cluster state takes a document of 1 MiB, which holds both; some room is for its frame. */
const storedCharactersMax = 1_000_000;

const freshDefault = (): NamespaceBody => parseNamespaceBody(defaultNamespace.namespace, {});

/**
 * The namespaces of all proxies, kept in cluster state: put first, in effect once they are committed, on every proxy within a second. A
 * namespace `default` is always there.
 */
@Injectable()
export class Namespaces {
  readonly #document: WatchedDocument<Stored>;

  constructor(
    private readonly node: NodeContext,
    private readonly settings: ProxySettings,
  ) {
    this.#document = new WatchedDocument<Stored>(node.state, node.clock, {
      key: 'proxy-namespaces',
      initial: { put: {}, committed: {} },
      parse: parseStored,
      onInvalid: (error) => node.log.error({ err: error }, 'the namespaces in cluster state are damaged; the last good ones stay'),
    });
    node.addPart({ name: 'namespaces', start: () => this.#document.start(), stop: async () => this.#document.stop() });
  }

  /** As they were put, by name. */
  list(): NamespaceBody[] {
    const { put } = this.#document.value();
    const all = Object.hasOwn(put, defaultNamespace.namespace) ? Object.values(put) : [freshDefault(), ...Object.values(put)];
    return all.sort((one, other) => (one.namespace < other.namespace ? -1 : 1));
  }

  get(name: string): NamespaceBody | undefined {
    return this.list().find(({ namespace }) => namespace === name);
  }

  /** Those in effect. The cluster of who names none is `default`, or the first one where there are several and none is called that. */
  views(): NamespaceView[] {
    const { committed } = this.#document.value();
    const views = [...(Object.hasOwn(committed, defaultNamespace.namespace) ? [] : [defaultNamespace]), ...Object.values(committed).map(namespaceView)];
    const clusters = this.settings.current.proxy.backendClusters.map(({ name }) => name);
    const first = clusters.includes('default') ? 'default' : (clusters[0] ?? 'default');
    return views.map((view) => (view.cluster === 'default' ? { ...view, cluster: first } : view));
  }

  /** Whenever `views` may say something else. */
  onChange(listener: () => void): void {
    this.#document.onChange(listener);
    this.settings.onChange((now, before) => {
      if (now.proxy.backendClusters !== before.proxy.backendClusters) listener();
    });
  }

  /** Throws BAD_REQUEST for what is no namespace. It has no effect before `commit`. */
  async put(name: string, body: unknown): Promise<void> {
    const checked = parseNamespaceBody(name, body);
    await this.#document.update((stored) => withinBounds({ ...stored, put: { ...stored.put, [name]: checked } }));
  }

  /** False if there is none. It stays in effect until `commit`. */
  async remove(name: string): Promise<boolean> {
    let found = false;
    await this.#document.update((stored) => {
      found = Object.hasOwn(stored.put, name);
      return { ...stored, put: without(stored.put, name) };
    });
    return found;
  }

  /** Puts the named ones into effect, or all, as they were put; what was removed goes. NOT_FOUND for a name that has never been there. */
  async commit(names: readonly string[]): Promise<void> {
    await this.#document.update(({ put, committed }) => {
      if (names.length === 0) return withinBounds({ put, committed: put });
      const next: Record<string, NamespaceBody> = { ...committed };
      for (const name of names) {
        if (Object.hasOwn(put, name)) next[name] = put[name] as NamespaceBody;
        else if (Object.hasOwn(next, name)) delete next[name];
        else if (name !== defaultNamespace.namespace) throw new BinnacleError('NOT_FOUND', `there is no namespace ${JSON.stringify(name.slice(0, 64))}`);
      }
      return withinBounds({ put, committed: next });
    });
    this.node.log.info({ namespaces: names.length === 0 ? 'all' : names }, 'namespaces are in effect as they were put');
  }
}

function without(bodies: Bodies, name: string): Bodies {
  return Object.fromEntries(Object.entries(bodies).filter(([each]) => each !== name));
}

function withinBounds(stored: Stored): Stored {
  if (Object.keys(stored.put).length > namespacesMax) throw new BinnacleError('LIMIT_EXCEEDED', `there may be at most ${namespacesMax} namespaces`);
  if (JSON.stringify(stored).length > storedCharactersMax) throw new BinnacleError('LIMIT_EXCEEDED', 'the namespaces are too large together');
  return stored;
}

function parseStored(text: string): Stored {
  const plain: unknown = JSON.parse(text);
  if (!isTable(plain) || !isTable(plain['put']) || !isTable(plain['committed'])) throw new Error('not a document of namespaces');
  const bodies = (table: Record<string, unknown>): Bodies => Object.fromEntries(Object.entries(table).map(([name, body]) => [name, parseNamespaceBody(name, body)]));
  return { put: bodies(plain['put']), committed: bodies(plain['committed']) };
}
