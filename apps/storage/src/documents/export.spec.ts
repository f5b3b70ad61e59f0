import { expect, test } from '@jest/globals';
import { exportedLines } from './export.js';
import type { LargeDocuments } from './large-documents.js';

async function exported(documents: readonly string[], include: readonly string[] = []): Promise<{ text: string; chunks: number }> {
  async function* rows() {
    for (const document of documents) yield { handle: Buffer.from('x'), version: 1, document: Buffer.from(document) };
  }
  const chunks: Buffer[] = [];
  for await (const chunk of exportedLines(rows(), { include, exclude: [] }, {} as LargeDocuments)) chunks.push(chunk);
  return { text: Buffer.concat(chunks).toString(), chunks: chunks.length };
}

const small = '{"id":"a","n":1}';
const large = `{"id":"b","text":"${'x'.repeat(100_000)}"}`;

test.each<[string, string[]]>([
  ['nothing', []],
  ['one document', [small]],
  ['small ones', [small, small, small]],
  ['large ones between, before and after small ones', [large, small, large, large, small]],
  ['many', Array.from({ length: 10_000 }, () => small)],
])('%s: lines with a newline between them', async (_what, documents) => {
  expect((await exported(documents)).text).toBe(documents.join('\n'));
});

test('small documents come together, and only with the fields that are wanted', async () => {
  const { text, chunks } = await exported(Array.from({ length: 10_000 }, () => small), ['id']);
  expect(text).toBe(Array.from({ length: 10_000 }, () => '{"id":"a"}').join('\n'));
  expect(chunks).toBe(2);
});
