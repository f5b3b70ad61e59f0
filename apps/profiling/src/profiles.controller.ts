import { BinnacleError } from '@binnacle/contracts/errors';
import { Controller, Get, Header, Param, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { profileView, type ProfileView } from './kept-profile.js';
import { KeptProfiles } from './kept-profiles.js';
import { MergedProfiles } from './merged-profiles.js';
import { profileHeaders, type ProfileForm } from './profile-answer.js';
import { ProfileKeepers, type FoundProfile, type ProfileList } from './profile-keepers.js';
import { formatAmong, profileFilterOf, type Query as ParsedQuery } from './profile-query.js';
import { Renderer } from './renderer.js';

const formats = ['pprof', 'svg', 'collapsed', 'json', 'top', 'text'] as const;
type Format = (typeof formats)[number];

/** Kept profiles for clients, and for other profiling nodes what this one keeps. */
@Controller()
export class ProfilesController {
  constructor(
    private readonly kept: KeptProfiles,
    private readonly keepers: ProfileKeepers,
    private readonly merged: MergedProfiles,
    private readonly renderer: Renderer,
  ) {}

  @Get('/api/v1/profiles')
  async list(@Query() query: ParsedQuery): Promise<ProfileList> {
    return this.keepers.list(profileFilterOf(query));
  }

  @Get('/api/v1/profiles/merged')
  async merge(@Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const format = formatAmong(query, formats, 'svg');
    const { profile, count, unreachable } = await this.merged.of(profileFilterOf(query, 'format'));
    void reply.header('x-binnacle-merged-profiles', count);
    if (unreachable.length > 0) void reply.header('x-binnacle-failed-nodes', unreachable.join(','));
    await this.#send(profile, format, request, reply);
  }

  @Get('/api/v1/profiles/:id')
  async get(@Param('id') id: string, @Query() query: ParsedQuery, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const format = formatAmong(query, formats, 'pprof');
    await this.#send(await this.keepers.read(id), format, request, reply);
  }

  @Get('/api/v1/profiles/:id/flame-graph')
  async flameGraph(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.#send(await this.keepers.read(id), 'svg', request, reply);
  }

  @Get('/api/v1/profiles/:id/top')
  async top(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    await this.#send(await this.keepers.read(id), 'top', request, reply);
  }

  /** `other` less `base`. */
  @Get('/api/v1/profiles/:base/diff/:other')
  async diff(
    @Param('base') baseId: string,
    @Param('other') otherId: string,
    @Query() query: ParsedQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const format = formatAmong(query, ['svg', 'pprof'] as const, 'svg');
    const [base, other] = await Promise.all([this.keepers.read(baseId), this.keepers.read(otherId)]);
    if (base.kind !== other.kind) {
      throw new BinnacleError('BAD_REQUEST', `only profiles of one kind can be compared: these are ${base.kind} and ${other.kind}`);
    }
    const body = await this.renderer.diff(base.pprof, other.pprof, format, `${titleOf(other)}, less ${titleOf(base)}`);
    void reply.headers(profileHeaders(format, `${base.id}-to-${other.id}${extensions[format]}`, request.headers.accept)).send(body);
  }

  @Get('/agent/v1/profiles')
  listOwn(@Query() query: ParsedQuery): { profiles: ProfileView[] } {
    return { profiles: this.kept.list(profileFilterOf(query)).map(profileView) };
  }

  @Get('/agent/v1/profiles/:id')
  describeOwn(@Param('id') id: string): ProfileView {
    return profileView(this.kept.describe(id));
  }

  @Get('/agent/v1/profiles/:id/pprof')
  @Header('content-type', 'application/octet-stream')
  async readOwn(@Param('id') id: string): Promise<Buffer> {
    return this.kept.read(id);
  }

  async #send(profile: FoundProfile, format: Format, { headers }: FastifyRequest, reply: FastifyReply): Promise<void> {
    const body = format === 'pprof' ? profile.pprof : await this.renderer.render(profile.pprof, format, titleOf(profile));
    const form: ProfileForm = format === 'top' ? 'json' : format;
    void reply.headers(profileHeaders(form, `${profile.id}${extensions[form]}`, headers.accept)).send(body);
  }
}

const extensions: Readonly<Record<ProfileForm, string>> = { pprof: '.pb.gz', raw: '.heap', svg: '.svg', collapsed: '.txt', json: '.json', text: '.txt' };
const kindTexts = { cpu: 'CPU', heap: 'JavaScript heap', 'native-heap': 'Native heap' } as const;

function titleOf({ kind, node, startedAt }: ProfileView): string {
  return `${kindTexts[kind]}, ${node === '*' ? 'all nodes' : `node ${node}`}, ${startedAt.slice(0, 19).replace('T', ' ')} UTC`;
}
