/** The body of an HTTP answer. Rejects with what breaks it off, and where it is longer, in words that name it: `its answer`. */
export async function limitedBody(body: AsyncIterable<Buffer>, bytesMax: number, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`${name} is longer than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}
