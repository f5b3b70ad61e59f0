import { flameGraphSecurityPolicy } from '@binnacle/profiler/flame-graph';

/** `raw` is jemalloc's own text. */
export type ProfileForm = 'pprof' | 'raw' | 'svg' | 'collapsed' | 'json' | 'text';

const contentTypes: Readonly<Record<ProfileForm, string>> = {
  pprof: 'application/octet-stream',
  raw: 'application/octet-stream',
  svg: 'image/svg+xml',
  collapsed: 'text/plain; charset=utf-8',
  json: 'application/json; charset=utf-8',
  text: 'text/plain; charset=utf-8',
};

/** The headers of a profile, whatever names are in it. What a person would look at opens in a browser, and only there. */
export function profileHeaders(form: ProfileForm, fileName: string, accept: string | undefined): Record<string, string> {
  const shown = form !== 'pprof' && form !== 'raw' && accept?.includes('text/html');
  return {
    'content-type': contentTypes[form],
    'content-disposition': `${shown ? 'inline' : 'attachment'}; filename="${fileName}"`,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...(form === 'svg' && { 'content-security-policy': flameGraphSecurityPolicy }),
  };
}
