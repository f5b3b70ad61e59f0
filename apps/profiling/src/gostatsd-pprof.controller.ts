import { dialectHeader } from '@binnacle/contracts/internal-headers';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { formatOf, frequencyOf, goSecondsOf, secondsOf, targetOf, targetOrAllOf } from './capture-query.js';
import { Captures } from './captures.js';
import type { Query as ParsedQuery } from './profile-query.js';
import { RequestedProfiles } from './requested-profiles.js';

const cpuSeconds = { absent: 30, max: 600 };
const traceSeconds = { absent: 30, max: 120 };
/** gostatsd's document has 30 s; TiProxy's heap, as Go's runtime has it, is that of a moment. */
const heapSeconds = { absent: 30, max: 600, zero: true } as const;
const tiproxyHeapSeconds = { ...heapSeconds, absent: 0 };

/**
 * What gostatsd and TiProxy, both written in Go, serve under /debug/pprof. The gateway asks for it under /go/pprof, since TiFlash's differs.
 * Captures of one target wait for each other.
 */
@Controller('go/pprof')
export class GostatsdPprofController {
  constructor(
    private readonly node: NodeContext,
    private readonly captures: Captures,
    private readonly requested: RequestedProfiles,
  ) {}

  @Get()
  index(@Res() reply: FastifyReply): void {
    void reply.headers({ 'content-type': 'text/html; charset=utf-8', 'content-security-policy': "default-src 'none'", 'x-content-type-options': 'nosniff' });
    void reply.send(indexPage);
  }

  @Get('profile')
  async profile(@Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const options = { seconds: goSecondsOf(query, cpuSeconds), frequencyHz: frequencyOf(query), whenBusy: 'wait' } as const;
    await this.requested.answer(request, reply, {
      target: targetOrAllOf(query, this.node.id),
      form: formatOf(query) ?? 'pprof',
      fileName: 'profile',
      what: `CPU, ${options.seconds} s at ${options.frequencyHz} Hz`,
      capture: (nodeId, signal) => this.captures.cpu(nodeId, options, signal),
    });
  }

  @Get('heap')
  async heap(@Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const rule = request.headers[dialectHeader] === 'tiproxy' ? tiproxyHeapSeconds : heapSeconds;
    const options = { seconds: secondsOf(query, rule), whenBusy: 'wait' } as const;
    await this.requested.answer(request, reply, {
      target: targetOrAllOf(query, this.node.id),
      form: formatOf(query) ?? 'pprof',
      fileName: 'heap',
      what: `JavaScript heap${options.seconds > 0 ? `, ${options.seconds} s` : ''}`,
      capture: (nodeId, signal) => this.captures.heap(nodeId, options, signal),
    });
  }

  @Get('trace')
  async trace(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    const trace = await this.captures.trace(targetOf(query, this.node.id), secondsOf(query, traceSeconds), untilClientGone(reply));
    void reply.headers({
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment; filename="trace"',
      'x-content-type-options': 'nosniff',
    });
    void reply.send(trace);
  }
}

/** Relative links: TiProxy has the page under two paths, and writes both with a slash at the end. On port 8080 they meet TiFlash's dialect. */
const indexPage = `<!doctype html>
<title>/debug/pprof/</title>
<h1>/debug/pprof/</h1>
<ul>
<li><a href="profile?seconds=10&amp;format=svg">profile</a>: CPU over 10 s as a flame graph; without <code>format</code> as pprof
<li><a href="heap?seconds=10&amp;source=v8&amp;format=svg">heap</a>: what was allocated in 10 s and is still held, as a flame graph
<li><a href="trace?seconds=5">trace</a>: when the main thread did what, for 5 s, in Chrome's trace format (ui.perfetto.dev)
<li><a href="cmdline">cmdline</a>: the command line
<li><a href="symbol">symbol</a>: POST addresses, get names
</ul>
`;
