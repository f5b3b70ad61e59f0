import type { Field, Table } from './schema.js';

/** A table as Typesense shows a collection. A number of documents that nobody knows is left out. */
export function collectionView(table: Table, documents: number | undefined): Record<string, unknown> {
  return {
    created_at: table.createdAtS,
    default_sorting_field: table.defaultSortingField,
    enable_nested_fields: table.enableNestedFields,
    fields: table.fields.map(fieldView),
    ...(table.metadata !== undefined && Object.keys(table.metadata).length > 0 && { metadata: table.metadata }),
    name: table.name,
    num_documents: documents,
    symbols_to_index: [],
    token_separators: table.tokenSeparators,
  };
}

export function fieldView({ name, type, optional, facet, index, sort }: Field): Record<string, unknown> {
  return { facet, index, infix: false, locale: '', name, optional, sort, stem: false, store: true, type };
}
