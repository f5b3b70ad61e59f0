import { BinnacleError } from '@binnacle/contracts/errors';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { WriteRequest } from '../documents/document.js';
import { newDocumentId } from '../documents/document-id.js';
import { Catalog } from '../tables/catalog.js';
import type { Table } from '../tables/schema.js';
import { type Region, regionOf } from './region.js';

export interface OwnRegion {
  readonly table: Table;
  readonly region: Region;
}

/** Which regions this node is the write node of. */
@Injectable()
export class OwnRegions {
  constructor(
    private readonly node: NodeContext,
    private readonly catalog: Catalog,
  ) {}

  regionOf(table: Table, handle: Uint8Array): Region {
    return regionOf(table.regions, handle);
  }

  /** Whether this node takes the row's writes. Hashes only where the table is on several nodes. */
  isOwn(table: Table, handle: Uint8Array): boolean {
    return this.ownsAll(table) || (this.ownsSome(table) && this.regionOf(table, handle).writeNode === this.node.id);
  }

  /** Every row of the table is here. */
  ownsAll({ regions }: Pick<Table, 'regions'>): boolean {
    return regions.every(({ writeNode }) => writeNode === this.node.id);
  }

  ownsSome({ regions }: Pick<Table, 'regions'>): boolean {
    return regions.some(({ writeNode }) => writeNode === this.node.id);
  }

  /** An id for a row that is to be here, where that is not sure of any id. Without own regions ids are as they come. */
  newId(table: Table): Pick<WriteRequest, 'newId'> {
    if (this.ownsAll(table) || !this.ownsSome(table)) return {};
    let newId = newDocumentId();
    while (!this.isOwn(table, Buffer.from(newId))) newId = newDocumentId();
    return { newId };
  }

  /** Undefined: the row may be read and written here now. */
  refusal(table: Table, handle: Uint8Array): BinnacleError | undefined {
    if (this.isOwn(table, handle)) return undefined;
    return new BinnacleError('NO_TARGET', `The nodes do not agree yet on who holds collection \`${table.name}\`.`, { retryAfterS: 1 });
  }

  /** A table was made through this node: resolves once it takes writes, if it is to. */
  async created(_table: Table): Promise<void> {}

  all(): OwnRegion[] {
    return this.catalog.all().flatMap((table) => table.regions.filter(({ writeNode }) => writeNode === this.node.id).map((region) => ({ table, region })));
  }
}
