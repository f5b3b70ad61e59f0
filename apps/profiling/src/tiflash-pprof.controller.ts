import { BinnacleError } from '@binnacle/contracts/errors';
import { listenerHeader } from '@binnacle/contracts/internal-headers';
import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Controller, Get, HttpCode, Post, Query, Req, Res, type RawBodyRequest } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { formatOf, frequencyOf, given, isV8Source, secondsOf, targetOf, targetOrAllOf } from './capture-query.js';
import { Captures } from './captures.js';
import { profileHeaders, type ProfileForm } from './profile-answer.js';
import type { Query as ParsedQuery } from './profile-query.js';
import { RequestedProfiles } from './requested-profiles.js';
import { requestedAddresses, symbolLines } from './symbol-lines.js';

const text = 'text/plain';
const cpuSeconds = { absent: 10, max: 600 };
/** TiFlash's heap is that of a moment. */
const heapSeconds = { absent: 0, max: 600, zero: true } as const;

/** What TiFlash's status port serves under /debug/pprof, but for the periodic heap dumps. */
@Controller('debug/pprof')
export class TiflashPprofController {
  constructor(
    private readonly node: NodeContext,
    private readonly captures: Captures,
    private readonly requested: RequestedProfiles,
  ) {}

  @Get('profile')
  async profile(@Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const options = { seconds: secondsOf(query, cpuSeconds), frequencyHz: frequencyOf(query), whenBusy: 'refuse' } as const;
    await this.requested.answer(request, reply, {
      target: targetOrAllOf(query, this.node.id),
      form: formatOf(query) ?? (wantsPprof(request) ? 'pprof' : 'svg'),
      fileName: 'cpu_profile',
      what: `CPU, ${options.seconds} s at ${options.frequencyHz} Hz`,
      capture: (nodeId, signal) => this.captures.cpu(nodeId, options, signal),
    });
  }

  @Get('heap')
  async heap(@Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const target = targetOrAllOf(query, this.node.id);
    const isV8 = isV8Source(query);
    const form = heapForm(query, request);
    if (form === 'raw' && !isV8 && target !== '*') return this.#rawHeap(target, request, reply);
    if (form === 'raw' && given(query, 'text') === 'raw') throw new BinnacleError('BAD_REQUEST', "text=raw is jemalloc's heap of one node: neither source=v8 nor node=* has it");
    const options = { seconds: secondsOf(query, heapSeconds), whenBusy: 'refuse' } as const;
    await this.requested.answer(request, reply, {
      target,
      form: form === 'raw' ? 'pprof' : form,
      fileName: 'profile',
      what: isV8 ? `JavaScript heap${options.seconds > 0 ? `, ${options.seconds} s` : ''}` : 'Native heap',
      capture: (nodeId, signal) => (isV8 ? this.captures.heap(nodeId, options, signal) : this.captures.nativeHeap(nodeId, signal)),
    });
  }

  async #rawHeap(target: string, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const dump = await this.captures.nativeHeapDump(target, untilClientGone(reply));
    void reply.headers(profileHeaders('raw', 'profile', request.headers.accept)).send(dump);
  }

  @Get('set_prof_active')
  async activate(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    await this.#setActive(query, reply, true);
  }

  @Get('set_prof_inactive')
  async deactivate(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    await this.#setActive(query, reply, false);
  }

  async #setActive(query: ParsedQuery, reply: FastifyReply, active: boolean): Promise<void> {
    await this.captures.setProfActive(targetOf(query, this.node.id), active, isV8Source(query) ? 'v8' : undefined, untilClientGone(reply));
    // TiFlash says the same of both.
    void reply.type(text).send('set prof.active succeed');
  }

  @Get('symbol')
  countSymbols(@Res() reply: FastifyReply): void {
    void reply.type(text).send('num_symbols: 1\n');
  }

  @Post('symbol')
  @HttpCode(200)
  async symbols(@Query() query: ParsedQuery, @Req() request: RawBodyRequest<FastifyRequest>, @Res() reply: FastifyReply): Promise<void> {
    const addresses = requestedAddresses(request);
    const names = await this.captures.symbols(targetOf(query, this.node.id), addresses, untilClientGone(reply));
    void reply.type(text).send(symbolLines(addresses, names));
  }

  @Get('arena_purge')
  async purge(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    const purged = await this.captures.purge(targetOf(query, this.node.id), untilClientGone(reply));
    void reply.headers({
      'x-binnacle-released-bytes': purged.releasedBytes,
      'x-binnacle-resident-before-bytes': purged.residentBeforeBytes,
      'x-binnacle-resident-after-bytes': purged.residentAfterBytes,
    });
    void reply.type(text).send('purge OK');
  }

  @Get('memory_status')
  async memoryStatus(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    const status = await this.captures.memoryStatus(targetOf(query, this.node.id), untilClientGone(reply));
    void reply.type('application/json').send(status);
  }

  @Get('cmdline')
  async commandLine(@Query() query: ParsedQuery, @Res() reply: FastifyReply): Promise<void> {
    const commandLine = await this.captures.commandLine(targetOf(query, this.node.id), untilClientGone(reply));
    void reply.type(text).send(commandLine.join('\0'));
  }
}

/** TiFlash's clients say so by the type of a body they do not send; Go's client, which takes nothing else, by saying nothing. */
function wantsPprof({ headers }: FastifyRequest): boolean {
  if (headers['content-type'] === 'application/protobuf') return true;
  return headers.accept === undefined && headers[listenerHeader] === 'all';
}

function heapForm(query: ParsedQuery, request: FastifyRequest): ProfileForm {
  const format = formatOf(query);
  if (format !== undefined) return format;
  if (given(query, 'jeprof') !== 'true') return wantsPprof(request) ? 'pprof' : 'raw';
  const text = given(query, 'text');
  return text === 'text' || text === 'raw' || text === 'collapsed' ? text : 'svg';
}
