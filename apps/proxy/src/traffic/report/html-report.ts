import { createHash } from 'node:crypto';
import { htmlReportScript, rowsShown } from './html-report-script.js';
import { htmlReportStyle } from './html-report-style.js';
import { compared, differing, skippedInAll } from './outcomes.js';
import { counted, duration, grouped, html, percent, printable, printableLines } from './printable-text.js';
import type { DigestReport, Failure, Latencies, Outcomes, ReportedRun, TrafficReport } from './traffic-report.js';
import { differs, slowdown, verdictLine } from './verdict.js';

const sources = [
  `default-src 'none'`,
  `script-src '${sha256(htmlReportScript)}'`,
  `style-src '${sha256(htmlReportStyle)}'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `require-trusted-types-for 'script'`,
].join('; ');

/**
 * The Content-Security-Policy to send with the page: its own script and style may run, nothing may be loaded or sent elsewhere. The page says it of itself as
 * well, all but who may frame it, which only a header can: it is also opened from disk. It is the second lock; the first is that texts only ever become text.
 */
export const htmlReportSecurityPolicy = `${sources}; frame-ancestors 'self'`;

function sha256(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

const cellCharactersMax = 240;

/** One page that needs nothing else, safe whatever the statements are. Some 2 KB for each digest; details are made when they are opened. */
export function htmlReport(report: TrafficReport): string {
  const pass = report.verdict === 'PASS';
  const line = verdictLine(report).slice(report.verdict.length + 2);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${html(sources)}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<title>${report.verdict} · traffic report</title><style>${htmlReportStyle}</style></head><body>
<header class="${pass ? 'pass' : 'fail'}"><div class="top"><p class="brand">Binnacle · traffic report</p>
<h1><span class="badge">${pass ? '✓' : '✗'} ${report.verdict}</span>${html(line)}</h1>
<p class="runs-line">${serverName(report.capture)} → ${serverName(report.replay)}${report.capture.from === '' ? '' : ` · captured ${time(report.capture.from)}`}${report.replay.from === '' ? '' : ` · replayed ${time(report.replay.from)}`}</p></div></header>
<main>${outcomesBar(report.totals)}${cards(report)}${why(report)}${latencySection(report)}${digestSection(report)}${runSection(report)}${warningSection(report)}</main>
<script type="application/json" id="data">${data(report)}</script><script>${htmlReportScript}</script></body></html>
`;
}

function serverName({ server }: ReportedRun): string {
  return html(server, 80) || 'a server not known';
}

function time(iso: string): string {
  const said = html(iso.replace('T', ' ').replace(/\.\d+Z$/, ' UTC'), 40);
  return said === '' ? 'not known' : `<time datetime="${html(iso, 40)}">${said}</time>`;
}

function outcomesBar(totals: Outcomes): string {
  const parts = [
    ['equal', 'equal', totals.equal],
    ['same-error', 'the same error', totals.sameError],
    ['different', 'different results', totals.different],
    ['new-error', 'new errors', totals.newError + totals.otherError],
    ['gone', 'errors gone', totals.errorGone],
    ['not-compared', 'not compared', totals.notCompared],
    ['skipped', 'not sent', skippedInAll(totals)],
  ] as const;
  const shown = parts.filter(([, , count]) => count > 0);
  if (shown.length === 0) return '';
  // What is seldom must still be seen.
  const widths = shown.map(([, , count]) => Math.max(0.005, count / totals.commands));
  const whole = widths.reduce((sum, width) => sum + width, 0);
  let before = 0;
  const rects = shown.map(([name], index) => {
    const width = (100 * widths[index]!) / whole;
    before += width;
    return `<rect class="f-${name}" x="${(before - width).toFixed(3)}%" width="${width.toFixed(3)}%" height="14"/>`;
  });
  const said = shown.map(([, label, count]) => `${label} ${grouped(count)}`).join(', ');
  const keys = shown.map(([name, label, count]) => `<li><svg viewBox="0 0 10 10" aria-hidden="true"><circle class="f-${name}" cx="5" cy="5" r="4.5"/></svg>${label} <b>${grouped(count)}</b></li>`);
  return `<svg class="bar" role="img" aria-label="Commands by outcome: ${said}">${rects.join('')}</svg><ul class="keys">${keys.join('')}</ul>`;
}

function cards({ verdict, totals, plans, then, now, digests, replay }: TrafficReport): string {
  const worse = (count: number): 'bad' | 'warn' | '' => (count === 0 ? '' : verdict === 'PASS' ? 'warn' : 'bad');
  const all = compared(totals);
  const errors = totals.newError + totals.otherError;
  const p95 = (latencies: Latencies | undefined): string => (latencies === undefined ? '–' : duration(latencies.p95Us));
  const slower = slowdown({ then, now });
  return `<dl class="cards">${[
    card('Compared', percent(all, totals.commands), `${grouped(all)} of ${counted(totals.commands, 'command')}`, all === 0 ? 'bad' : ''),
    card('Equal', percent(totals.equal + totals.sameError, all), `${grouped(digests.filter((digest) => compared(digest) > 0 && !differs(digest)).length)} of ${counted(digests.length, 'digest')} all equal`, all > 0 && differing(totals) === 0 ? 'good' : ''),
    card('Different results', grouped(totals.different), `${percent(totals.different, all)} of those compared`, worse(totals.different)),
    card('New errors', grouped(errors), totals.otherError > 0 ? `${grouped(totals.otherError)} had another code then` : `${percent(errors, all)} of those compared`, worse(errors)),
    card('Errors gone', grouped(totals.errorGone), 'failed then, went well now', worse(totals.errorGone)),
    card('Plans changed', grouped(plans.changed), `of ${counted(plans.compared, 'plan')} compared`, worse(plans.changed)),
    card('p95 now', p95(now), slower === undefined ? 'then not known' : `then ${p95(then)}, × ${slower.toFixed(2)}`, ''),
    card('Behind its plan', duration(replay.lagMaxMs * 1_000), `at most; ${duration(replay.lagMs * 1_000)} at the end`, ''),
  ].join('')}</dl>`;
}

function card(label: string, figure: string, note: string, kind: 'good' | 'warn' | 'bad' | ''): string {
  return `<div class="card ${kind}"><dt>${label}</dt><dd>${html(figure)}</dd><dd class="note">${html(note)}</dd></div>`;
}

function why({ failures }: TrafficReport): string {
  if (failures.length === 0) return '';
  return `<h2>Why it failed</h2><ol class="why">${failures.map(failureItem).join('')}</ol>`;
}

function failureItem({ digest, line }: Failure): string {
  return digest === undefined ? `<li>${html(line)}</li>` : `<li><a href="#d-${html(digest)}">${html(line)}</a></li>`;
}

function latencySection({ then, now }: TrafficReport): string {
  if (then === undefined && now === undefined) return '';
  const figures = [['p50', 'p50Us'], ['p95', 'p95Us'], ['p99', 'p99Us'], ['mean', 'meanUs'], ['greatest', 'maxUs']] as const;
  const rows = figures.map(([name, key]) => {
    const ratio = then === undefined || now === undefined ? '–' : `× ${(now[key] / Math.max(1, then[key])).toFixed(2)}`;
    return `<tr><th scope="row">${name}</th><td class="num">${then === undefined ? '–' : duration(then[key])}</td><td class="num">${now === undefined ? '–' : duration(now[key])}</td><td class="num">${ratio}</td></tr>`;
  });
  return `<h2>Latency</h2><div class="two"><figure class="panel" id="overview"></figure><div class="panel"><table class="small"><caption class="unseen">Latencies of all commands then and now</caption>
<thead><tr><th scope="col">All commands</th><th scope="col" class="num then-text">then</th><th scope="col" class="num now-text">now</th><th scope="col" class="num">ratio</th></tr></thead><tbody>${rows.join('')}</tbody></table>
<p class="soft">Of those that went well both times.</p></div></div>`;
}

const columns = [
  ['statement', 'Statement', ''],
  ['found', 'Found', 'c-found'],
  ['commands', 'Commands', 'num c-count'],
  ['equal', 'Equal', 'num c-equal'],
  ['then', 'p95 then', 'num c-p95'],
  ['now', 'p95 now', 'num c-p95'],
  ['ratio', 'Now ÷ then', 'num c-ratio'],
] as const;

function digestSection({ digests, commandsOmitted }: TrafficReport): string {
  const heads = columns.map(([key, name, className]) => `<th scope="col" class="${className}" data-key="${key}"><button type="button">${name}</button></th>`);
  const omitted = commandsOmitted > 0 ? `<p class="soft">${counted(commandsOmitted, 'command')} of digests that are seldom, and have no difference, are in the figures above alone.</p>` : '';
  return `<h2 id="digests">Digests</h2><div class="tools" id="tools" hidden><label class="unseen" for="query">Find statements</label><input type="search" id="query" maxlength="200" placeholder="Find statements ( / )">
${kinds(digests)}<p class="soft" id="shown" role="status"></p></div><noscript><p class="soft">Sorting, filtering and details want scripts, which are switched off here.</p></noscript>
<div class="digests"><table aria-labelledby="digests"><thead><tr>${heads.join('')}</tr></thead><tbody id="rows">${digests.map(digestRow).join('')}</tbody></table><p class="pad soft" id="none" hidden>No digest matches.</p></div>
<button type="button" id="more" hidden>Show more</button>${omitted}`;
}

function kinds(digests: readonly DigestReport[]): string {
  const count = (of: (digest: DigestReport) => boolean): number => digests.filter(of).length;
  const chips = [
    ['all', 'All', digests.length],
    ['differing', 'Differing', count(differs)],
    ['results', 'Results', count(({ different }) => different > 0)],
    ['errors', 'Errors', count(({ newError, otherError, errorGone }) => newError + otherError + errorGone > 0)],
    ['plans', 'Plans', count(({ plan }) => plan?.changed === true)],
    ['slower', 'Slower × 1.5', count((digest) => (slowdown(digest) ?? 0) >= 1.5)],
  ] as const;
  const labels = chips.map(([value, name, some], index) => `<label class="chip"><input type="radio" name="kind" value="${value}"${index === 0 ? ' checked' : some === 0 ? ' disabled' : ''} autocomplete="off">${name} <b>${grouped(some)}</b></label>`);
  return `<fieldset><legend>Show</legend>${labels.join('')}</fieldset>`;
}

function digestRow(digest: DigestReport, index: number): string {
  const { then, now } = digest;
  const all = compared(digest);
  const cells = [
    `<td>${tags(digest)}</td>`,
    `<td class="num">${grouped(digest.commands)}</td>`,
    `<td class="num">${all === 0 ? '–' : html(percent(digest.equal + digest.sameError, all))}</td>`,
    `<td class="num">${then === undefined ? '–' : duration(then.p95Us)}</td>`,
    `<td class="num">${now === undefined ? '–' : duration(now.p95Us)}</td>`,
    `<td class="num">${ratioCell(slowdown(digest))}</td>`,
  ];
  return `<tr class="digest${index < rowsShown ? '' : ' later'}" id="d-${html(digest.digest)}"><th scope="row"><button type="button" class="open" aria-expanded="false"><code>${html(digest.text, cellCharactersMax) || '(no text)'}</code></button></th>${cells.join('')}</tr>`;
}

function tags(digest: DigestReport): string {
  const { different, newError, otherError, errorGone, plan } = digest;
  const found = [
    newError + otherError > 0 ? `<span class="tag">${counted(newError + otherError, 'new error')}</span>` : '',
    different > 0 ? `<span class="tag">${grouped(different)} different</span>` : '',
    errorGone > 0 ? `<span class="tag warn">${counted(errorGone, 'error gone', 'errors gone')}</span>` : '',
    plan?.changed ? '<span class="tag warn">plan changed</span>' : '',
  ].join('');
  if (found !== '') return found;
  if (compared(digest) > 0) return digest.otherOrder > 0 ? `<span class="tag none">${grouped(digest.otherOrder)} in another order</span>` : '<span class="tag ok">equal</span>';
  return `<span class="tag none">${digest.notCompared > 0 ? 'not compared' : 'not sent'}</span>`;
}

/** Within a fifth either way is taken for the same. */
function ratioCell(ratio: number | undefined): string {
  if (ratio === undefined) return '–';
  const kind = ratio > 1.2 ? 'up' : ratio < 0.8 ? 'down' : 'flat';
  const reach = Math.max(-27, Math.min(27, Math.log2(Math.max(ratio, 0.001)) * 9));
  const bar = `<svg class="ratio" viewBox="0 0 56 12" aria-hidden="true"><rect class="${kind}" x="${(28 + Math.min(0, reach)).toFixed(1)}" y="2" width="${Math.max(1, Math.abs(reach)).toFixed(1)}" height="8" rx="2"/><line x1="28" x2="28" y1="0" y2="12"/></svg>`;
  return `<span class="${kind}-text">× ${ratio.toFixed(2)}</span>${bar}`;
}

function runSection({ capture, replay, thresholds }: TrafficReport): string {
  const row = (name: string, then: string, now: string): string => `<tr><th scope="row">${name}</th><td>${then}</td><td>${now}</td></tr>`;
  const whole = ({ cutOff }: ReportedRun): string => (cutOff === '' ? 'whole' : html(`cut off: ${cutOff}`, 300));
  const limits = [
    ['different results', html(share(thresholds.differentMax))],
    ['new errors', html(share(thresholds.newErrorMax))],
    ['errors gone', html(share(thresholds.errorGoneMax))],
    ['rows in another order', html(share(thresholds.otherOrderMax))],
    ['plans changed', grouped(thresholds.planChangesMax)],
    ['p95 slower by', thresholds.p95FactorMax === 0 ? 'not looked at' : `× ${thresholds.p95FactorMax}`],
    ['not compared', html(share(thresholds.notComparedMax))],
    ['parts not whole', grouped(thresholds.incompletePartsMax)],
  ];
  return `<h2>Runs and thresholds</h2><div class="two"><div class="panel"><table class="small"><caption class="unseen">The capture and the replay</caption><thead><tr><th scope="col"></th><th scope="col">capture</th><th scope="col">replay</th></tr></thead><tbody>
${row('server', serverName(capture), serverName(replay))}${row('first command', time(capture.from), time(replay.from))}${row('last command', time(capture.to), time(replay.to))}
${row('commands', grouped(capture.commands), grouped(replay.commands))}${row('connections', grouped(capture.connections), grouped(replay.connections))}${row('ended', whole(capture), whole(replay))}
${row('speed', '–', `${replay.speed}${replay.readOnly ? ', read-only' : ''}`)}</tbody></table></div>
<div class="panel"><table class="small"><caption class="unseen">Thresholds</caption><thead><tr><th scope="col">Allowed at most</th><th scope="col" class="num"></th></tr></thead><tbody>
${limits.map(([name, limit]) => `<tr><th scope="row">${name}</th><td class="num">${limit}</td></tr>`).join('')}</tbody></table></div></div>`;
}

function warningSection({ warnings }: TrafficReport): string {
  if (warnings.length === 0) return '';
  return `<h2>What was left out of the files</h2><ul class="why soft">${warnings.map((warning) => `<li>${html(warning, 300)}</li>`).join('')}</ul>`;
}

function share(max: number): string {
  return `${Number((100 * max).toFixed(4))} %`;
}

/** A less-than sign could begin an end tag: in JSON it may as well be written as an escape. */
function data({ then, now, digests }: TrafficReport): string {
  const cleaned = digests.map((digest) => ({
    ...digest,
    text: printable(digest.text),
    examples: digest.examples.map((example) => ({ ...example, at: printable(example.at), what: printable(example.what) })),
    plan: digest.plan && { changed: digest.plan.changed, then: printableLines(digest.plan.then), now: printableLines(digest.plan.now) },
    skipped: Object.fromEntries(Object.entries(digest.skipped).map(([reason, count]) => [printable(reason), count])),
  }));
  return JSON.stringify({ overall: { then, now }, digests: cleaned }).replaceAll('<', '\\u003c');
}
