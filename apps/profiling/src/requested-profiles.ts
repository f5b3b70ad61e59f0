import { untilClientGone } from '@binnacle/node-kit/client-gone';
import { NodeContext } from '@binnacle/node-kit/node-context';
import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CapturedProfile } from './captured-profile.js';
import { KeptProfiles } from './kept-profiles.js';
import { profileHeaders, type ProfileForm } from './profile-answer.js';
import { Renderer } from './renderer.js';
import { captureTogether } from './together.js';

export interface ProfileRequest {
  /** A node's id, or `*` for all of them in one profile. */
  readonly target: string;
  readonly form: Exclude<ProfileForm, 'raw'>;
  /** For `Content-Disposition`. */
  readonly fileName: string;
  /** `CPU, 10 s at 99 Hz`; the title of a flame graph says so. */
  readonly what: string;
  capture(nodeId: string, signal: AbortSignal): Promise<CapturedProfile>;
}

/** Profiles that a client asked for: captured, kept and answered in the form it wants. */
@Injectable()
export class RequestedProfiles {
  constructor(
    private readonly node: NodeContext,
    private readonly renderer: Renderer,
    private readonly kept: KeptProfiles,
  ) {}

  /** Sends the answer, or rejects with what the client is to be told. A client that goes away ends the capture. */
  async answer({ headers }: FastifyRequest, reply: FastifyReply, request: ProfileRequest): Promise<void> {
    const signal = untilClientGone(reply);
    const { captured, failed } = await this.#capture(request, signal);
    const profileId = await this.#keep(captured);
    const body = request.form === 'pprof' ? captured.pprof : await this.renderer.render(captured.pprof, request.form, titleOf(captured, request.what));
    void reply.headers(profileHeaders(request.form, request.fileName, headers.accept));
    if (profileId !== undefined) void reply.header('x-binnacle-profile', profileId);
    if (failed.length > 0) void reply.header('x-binnacle-failed-nodes', failed.join(','));
    void reply.send(body);
  }

  async #capture({ target, capture }: ProfileRequest, signal: AbortSignal): Promise<{ captured: CapturedProfile; failed: readonly string[] }> {
    if (target !== '*') return { captured: await capture(target, signal), failed: [] };
    const ids = this.node.directory.all().map(({ id }) => id);
    return captureTogether(ids, (nodeId) => capture(nodeId, signal), this.renderer);
  }

  /** Undefined when it could not be kept, which has been logged: the client gets its profile all the same. */
  async #keep(captured: CapturedProfile): Promise<string | undefined> {
    try {
      return (await this.kept.keep(captured, 'requested')).id;
    } catch {
      return undefined;
    }
  }
}

function titleOf({ node, startedAtMs }: CapturedProfile, what: string): string {
  const whose = node === '*' ? 'all nodes' : `node ${node}`;
  return `${what}, ${whose}, ${new Date(startedAtMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
