/** Lines as services send them: counters, timers and gauges of so many series, half of them with tags, packed into packets of up to `bytesMax`. */
export function packetsOf(seriesCount: number, packetCount: number, bytesMax: number): { packets: Buffer[]; lines: number } {
  const kinds = ['c', 'c', 'c|@0.5', 'ms', 'g'];
  const packets: Buffer[] = [];
  let lines = 0;
  while (packets.length < packetCount) {
    let text = '';
    for (;;) {
      // In an order that no cache foresees; 7,919 is prime.
      const series = (lines * 7_919) % seriesCount;
      const line = `api.service${series % 100}.endpoint${series}.calls:${lines % 997}|${kinds[series % kinds.length]}${series % 2 === 0 ? '' : '|#env:prod,region:eu'}\n`;
      if (text !== '' && text.length + line.length > bytesMax) break;
      text += line;
      lines += 1;
    }
    packets.push(Buffer.from(text));
  }
  return { packets, lines };
}
