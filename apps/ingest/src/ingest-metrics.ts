import { variablesOf } from '@binnacle/node-kit/expvar';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Ingest } from './ingest.js';
import { Receivers } from './receivers/receivers.js';
import { tablesLane } from './tables/rows.js';

/** What the node says of its own ingesting, at `/metrics` and `/expvar`. Read when somebody asks: nothing is added to the way of a line. */
@Injectable()
export class IngestMetrics {
  constructor(node: NodeContext, ingest: Ingest, receivers: Receivers) {
    const registers = [node.metrics];
    node.addPart({ name: 'ingest metrics', variables: async () => ({ ingest: await variablesOf(node.metrics, 'binnacle_ingest_') }) });
    const gauge = (name: string, help: string, read: () => number): void => {
      new Gauge({ name: `binnacle_ingest_${name}`, help, registers, collect() { this.set(read()); } });
    };
    // prom-client's counters only add, and these numbers are added up where they arise.
    const counter = (name: string, help: string, read: () => number | Promise<number>): void => {
      new Counter({ name: `binnacle_ingest_${name}_total`, help, registers, async collect() { const value = await read(); this.reset(); this.inc(value); } });
    };
    counter('lines', 'statsd lines taken, bad ones not among them.', () => ingest.lines.taken);
    new Counter({
      name: 'binnacle_ingest_bad_lines_total',
      help: 'statsd lines that could not be read, by reason.',
      labelNames: ['reason'],
      registers,
      collect() {
        this.reset();
        for (const [reason, count] of ingest.badLines.counts()) this.inc({ reason }, count);
      },
    });
    counter('udp_packets', 'UDP packets read.', () => receivers.packets);
    counter('udp_drops', 'UDP packets that the kernel threw away, because they were not read in time; 0 where it does not tell.', () => receivers.drops());
    gauge('tcp_connections', 'Connections with statsd lines.', () => receivers.connectionCount());
    counter('tcp_refused', 'Connections closed at once, for there were too many.', () => receivers.refused);
    counter('receiver_deaths', 'Receiver threads that ended by themselves, with up to a second of lines each; another one took their place.', () => receivers.deaths);
    counter('message_series', 'Series in messages taken.', () => ingest.messages.taken);
    counter('message_series_refused', 'Series of messages, and members of sets, that are too long, and numbers that are not finite.', () => ingest.messages.refused);
    counter('handed_series', 'Series in what other nodes, and receivers of this one, handed over.', () => ingest.handed.taken);
    counter('messages_handed_over', 'Messages to the ingest nodes that own their series.', () => ingest.peers.messagesSent);
    counter('messages_taken_back', 'Messages to ingest nodes that left, which were taken in here again.', () => ingest.peers.messagesTakenBack);
    counter('messages_handed_over_refused', 'Messages that their owner could not read; they were dropped.', () => ingest.peers.messagesRefused);
    counter('message_retries', 'Messages that were not counted, because one with their Idempotency-Key had been.', () => ingest.idempotency.recognised);
    gauge('series', 'Series that have not expired.', () => ingest.store.seriesCount);
    counter('overflowed', 'Times that something was counted under binnacle.overflow, for there were too many series.', () => ingest.store.losses.overflowed);
    counter('timer_values_lost', 'Values of timers that had no room; they are in the count and in no other figure.', () => ingest.store.losses.timerValues);
    counter('set_members_lost', 'Members of sets that had no room.', () => ingest.store.losses.setMembers);
    counter('events_dropped', 'Events in lines beyond what one flush takes.', () => ingest.eventsDropped);
    counter('flushes', 'Flushes.', () => ingest.flushes.count);
    new Gauge({
      name: 'binnacle_ingest_spool_bytes',
      help: 'What waits on the disk, by where it goes: tables, forward, or another ingest node.',
      labelNames: ['lane'],
      registers,
      collect() {
        this.reset();
        for (const lane of new Set([tablesLane, ...ingest.spool.lanes()])) this.set({ lane }, ingest.spool.bytes(lane));
      },
    });
    new Counter({
      name: 'binnacle_ingest_spool_lost_bytes_total',
      help: 'What went because the spool was full, by where it was to go.',
      labelNames: ['lane'],
      registers,
      collect() {
        this.reset();
        for (const [lane, bytes] of ingest.spool.lostBytes) this.inc({ lane }, bytes);
      },
    });
    counter('messages_forwarded', 'Messages sent on.', () => ingest.forwarder?.messagesSent ?? 0);
    counter('messages_forwarded_refused', 'Messages that the receiver refused for what they are (400, 413); they were dropped.', () => ingest.forwarder?.messagesRefused ?? 0);
    counter('rows_sent', 'Rows written to tables.', () => ingest.sender.rowsSent);
    counter('rows_refused', 'Rows that their table refuses for what they are.', () => ingest.sender.rowsRefused);
  }
}
