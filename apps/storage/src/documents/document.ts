import { isUtf8 } from 'node:buffer';
import { BinnacleError } from '@binnacle/contracts/errors';
import { checkDocument, type CheckedTable, type DirtyValues } from '../tables/document-check.js';
import { isJsonObject, jsonBytes, mergePatch, parseJson, type Json, type JsonObject } from '../tables/json.js';
import { checkId, newDocumentId } from './document-id.js';

export const documentBytesMax = 16 * 1024 * 1024;

export const writeActions = ['create', 'upsert', 'update', 'emplace'] as const;
export type WriteAction = (typeof writeActions)[number];

export interface WriteRequest {
  /** create: there must be none yet; upsert: put in place of whatever is there; update: patch what must be there; emplace: patch or create. */
  readonly action: WriteAction;
  readonly dirtyValues: DirtyValues;
  /** The id the path names. */
  readonly id?: string;
  /** For a document that brings no id: one whose row belongs where the document is written. */
  readonly newId?: string;
}

/** A document, or a patch of one, as a client sent it, checked against its table. */
export interface ParsedDocument {
  readonly id: string;
  readonly document: JsonObject;
}

/** Reads what a client sent. Throws BAD_REQUEST in Typesense's words. */
export function parseDocument(table: CheckedTable, bytes: Uint8Array, request: WriteRequest): ParsedDocument {
  if (!isUtf8(bytes)) throw badRequest('Bad JSON: it is not valid UTF-8.');
  const document = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  if (!isJsonObject(document)) throw badRequest('Bad JSON: not a properly formed document.');
  const id = idOf(document, request);
  document.id = id;
  checkDocument(table, document, { dirtyValues: request.dirtyValues, isPatch: isPatch(request) });
  return { id, document };
}

export function isPatch({ action }: WriteRequest): boolean {
  return action === 'update' || action === 'emplace';
}

function idOf(document: JsonObject, request: WriteRequest): string {
  const { action, id: named } = request;
  const given: Json | undefined = Object.hasOwn(document, 'id') ? document.id : named;
  if (given === undefined) {
    if (action === 'update') throw badRequest('For update, the `id` key must be provided.');
    return request.newId ?? newDocumentId();
  }
  checkId(given);
  if (named !== undefined && given !== named) throw badRequest('The `id` of the resource does not match the `id` in the JSON body.');
  return given;
}

/** The text of a document that there is not yet, or no more. Throws BAD_REQUEST when it is a patch that leaves fields out. */
export function newDocument(table: CheckedTable, { document }: ParsedDocument, request: WriteRequest): Buffer {
  if (!isPatch(request)) return checkedSize(jsonBytes(document));
  const whole = mergePatch({}, document) as JsonObject;
  checkDocument(table, whole);
  return checkedSize(jsonBytes(whole));
}

/** The text of the present document with the patch applied. Throws BAD_REQUEST when that is none any more. */
export function patchedDocument(table: CheckedTable, { document }: ParsedDocument, current: Uint8Array): Buffer {
  const text = Buffer.from(current.buffer, current.byteOffset, current.byteLength).toString();
  const patched = mergePatch(parseJson(text), document) as JsonObject;
  checkDocument(table, patched);
  return checkedSize(jsonBytes(patched));
}

function checkedSize(bytes: Buffer): Buffer {
  if (bytes.length > documentBytesMax) throw badRequest(`A document has at most ${documentBytesMax} bytes.`);
  return bytes;
}

/** The document with only the fields `include` names, if it names any, and without those of `exclude`. */
export function projectedDocument(bytes: Uint8Array, include: readonly string[], exclude: readonly string[]): Buffer {
  const document = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as JsonObject;
  return jsonBytes(excluded(include.length === 0 ? document : included(document, include), exclude));
}

/** `a.b` names b in the object a, or in each object of the array a. */
function included(value: JsonObject, names: readonly string[]): JsonObject {
  const kept: [string, Json][] = [];
  for (const [name, member] of Object.entries(value)) {
    if (names.includes(name)) kept.push([name, member]);
    else {
      const inner = innerNames(names, name);
      if (inner.length > 0) kept.push([name, eachObject(member, (object) => included(object, inner))]);
    }
  }
  return Object.fromEntries(kept);
}

function excluded(value: JsonObject, names: readonly string[]): JsonObject {
  if (names.length === 0) return value;
  const kept: [string, Json][] = [];
  for (const [name, member] of Object.entries(value)) {
    if (names.includes(name)) continue;
    const inner = innerNames(names, name);
    kept.push([name, inner.length === 0 ? member : eachObject(member, (object) => excluded(object, inner))]);
  }
  return Object.fromEntries(kept);
}

function innerNames(names: readonly string[], outer: string): readonly string[] {
  return names.filter((name) => name.startsWith(`${outer}.`)).map((name) => name.slice(outer.length + 1));
}

function eachObject(value: Json, change: (object: JsonObject) => JsonObject): Json {
  if (Array.isArray(value)) return value.map((element) => eachObject(element, change));
  return isJsonObject(value) ? change(value) : value;
}

function badRequest(message: string): BinnacleError {
  return new BinnacleError('BAD_REQUEST', message);
}
