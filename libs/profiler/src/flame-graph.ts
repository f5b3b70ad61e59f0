import { createHash } from 'node:crypto';
import type { CallTree, Frame } from './call-tree.js';
import { layOut, marginX, pictureWidth, type Layout, type PlacedFrame } from './flame-graph-layout.js';
import { flameGraphScript } from './flame-graph-script.js';
import { characterWidth, flameGraphStyle, headerHeight, rowHeight, shadesPerKind, textMargin } from './flame-graph-style.js';
import { frameKind } from './frame-kind.js';
import { humanValue } from './human-value.js';
import { callTree, callTreeOfBoth, type ProfileSource } from './profile-tree.js';
import { svgText } from './svg-text.js';

export interface FlameGraphOptions {
  /** Any text; it is escaped. */
  readonly title: string;
  /** Name of the sample type to show; absent, the profile's default. */
  readonly sampleType?: string | undefined;
}

/**
 * The Content-Security-Policy to send with a flame graph: its own script and style may run, nothing may be loaded, sent or framed elsewhere.
 * It is the second lock; the first is that names only ever become text.
 */
export const flameGraphSecurityPolicy = [
  `default-src 'none'`,
  `script-src '${sha256(flameGraphScript)}'`,
  `style-src '${sha256(flameGraphStyle)}'`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'self'`,
].join('; ');

function sha256(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** How one kind of flame graph draws its frames. */
interface Look {
  readonly weights: Float64Array;
  /** CSS classes, by node. */
  readonly classOf: (node: number) => string;
  /** What a node's value is, as text. */
  readonly valueOf: (node: number) => string;
  readonly subtitle: string;
  readonly legend: readonly (readonly [string, string])[];
}

/**
 * A profile as an interactive flame graph: one SVG document that needs nothing else. Safe whatever the names in the profile are. The stacks of
 * several nodes, merged with the label `node`, stand on a frame for each node.
 * Throws as `callTree`, and RangeError for a profile with negative values, which only `diffFlameGraph` can show.
 */
export function flameGraph(source: ProfileSource, { title, sampleType }: FlameGraphOptions): string {
  const tree = callTree(source, sampleType, 'node');
  const { type, unit } = tree.sampleType;
  if (tree.self.some((value) => value < 0)) throw new RangeError('a profile with negative values is a difference: draw it from its two profiles');
  const total = tree.total[0]!;
  const kindOf = tree.frames.map(kindClass);
  const duration = tree.durationNanos > 0 ? ` · over ${humanValue(tree.durationNanos, 'nanoseconds')}` : '';
  return document(tree, title, {
    weights: tree.total,
    classOf: (node) => (node === 0 ? 'root' : kindOf[tree.frameOf[node]!]!),
    valueOf: (node) => `${humanValue(tree.total[node]!, unit)} (${percent(tree.total[node]!, total)})`,
    subtitle: `${type}: ${humanValue(total, unit)}${duration}`,
    legend: [
      ['j1', 'JavaScript'],
      ['n1', 'native'],
      ['g1', 'GC'],
      ['i1', 'idle'],
    ],
  });
}

/**
 * What changed from `base` to `other`, as a flame graph: a frame is as wide as both profiles together spent in it, so that what vanished is seen
 * as well as what is new; red is more in `other`, blue less, and the stronger the colour, the larger the change in proportion. Throws as `flameGraph`.
 */
export function diffFlameGraph(base: ProfileSource, other: ProfileSource, { title, sampleType }: FlameGraphOptions): string {
  const tree = callTreeOfBoth(base, other, sampleType);
  const { type, unit } = tree.sampleType;
  if (tree.self.some((value) => value < 0) || tree.baseSelf.some((value) => value < 0)) throw new RangeError('one of the profiles is a difference itself');
  const { total, baseTotal } = tree;
  const human = (value: number): string => humanValue(value, unit);
  const change = (node: number): string => signed(total[node]! - baseTotal[node]!, human);
  return document(tree, title, {
    weights: total.map((value, node) => value + baseTotal[node]!),
    classOf: (node) => changeClass(baseTotal[node]!, total[node]!),
    valueOf: (node) => `${change(node)} (${human(baseTotal[node]!)} → ${human(total[node]!)})`,
    subtitle: `${type}: ${human(baseTotal[0]!)} → ${human(total[0]!)} (${change(0)})`,
    legend: [
      ['u4', 'more'],
      ['z', 'same'],
      ['d4', 'less'],
    ],
  });
}

function percent(value: number, total: number): string {
  return `${((100 * value) / total).toFixed(2)} %`;
}

function signed(value: number, human: (value: number) => string): string {
  return value > 0 ? `+${human(value)}` : human(value).replace('-', '−');
}

const kindLetters = { javascript: 'j', native: 'n', gc: 'g', idle: 'i' } as const;

/** A letter for the kind and a shade by name, so that neighbours differ and a function keeps its colour from picture to picture. */
function kindClass(frame: Frame): string {
  if (frame.isLabel) return 'root';
  let hash = 0;
  for (let at = 0; at < Math.min(frame.name.length, 32); at++) hash = (Math.imul(hash, 31) + frame.name.charCodeAt(at)) | 0;
  return `${kindLetters[frameKind(frame)]}${(hash >>> 0) % shadesPerKind}`;
}

/** `u` for up or `d` for down with a strength from 1 to 5, by the change's share of what there is of both; `z` for less than 1 %. */
function changeClass(before: number, after: number): string {
  const change = (after - before) / (after + before);
  if (Math.abs(change) < 0.01) return 'z';
  return `${change > 0 ? 'u' : 'd'}${Math.max(1, Math.ceil(5 * Math.abs(change)))}`;
}

function document(tree: CallTree, title: string, look: Look): string {
  const layout = layOut(tree, look.weights);
  const height = headerHeight + Math.max(layout.levels.length, 2) * rowHeight + marginX;
  const parts = [
    `<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="${height}" `,
    `viewBox="0 0 ${pictureWidth} ${height}"><title>${svgText(title)}</title><style>${flameGraphStyle}</style>`,
    `<rect class="bg" width="100%" height="100%"/><g id="chart">`,
  ];
  const textOf = frameTexts(tree);
  layout.levels.forEach((frames, level) => {
    const y = headerHeight + (layout.levels.length - 1 - level) * rowHeight;
    parts.push(`<g class="l" transform="translate(${marginX},${y})">`);
    for (const frame of frames) parts.push(frameText(textOf(frame.node), frame, look));
    parts.push('</g>\n');
  });
  parts.push('</g>', header(title, look, layout), `<script><![CDATA[${flameGraphScript}]]></script></svg>\n`);
  return parts.join('');
}

/** A frame's name, and its name and place as safe text. */
interface FrameText {
  readonly name: string;
  readonly safeName: string;
  readonly safePlace: string;
}

/** By node. Each function is made safe once, however many frames it has. */
function frameTexts(tree: CallTree): (node: number) => FrameText {
  const texts = new Array<FrameText | undefined>(tree.frames.length);
  return (node) => {
    if (node === 0) return { name: 'all', safeName: 'all', safePlace: '' };
    const index = tree.frameOf[node]!;
    return (texts[index] ??= safeFrame(tree.frames[index]!));
  };
}

function safeFrame({ name, fileName, line }: Frame): FrameText {
  const place = line > 0 ? `${fileName}:${line}` : fileName;
  return { name: name || '(unknown)', safeName: svgText(name || '(unknown)'), safePlace: place && `\n${svgText(place)}` };
}

function frameText({ name, safeName, safePlace }: FrameText, { node, x, width }: PlacedFrame, look: Look): string {
  const room = Math.floor((width - 2 * textMargin) / characterWidth);
  const text = room < 3 ? '' : `<text x="${(x + textMargin).toFixed(1)}" y="13">${name.length > room ? svgText(name, room) : safeName}</text>`;
  const shape = `<rect x="${x.toFixed(3)}" width="${width.toFixed(3)}" height="${rowHeight - 1}"/>`;
  return `<g class="${look.classOf(node)}"><title>${safeName}\n${look.valueOf(node)}${safePlace}</title>${shape}${text}</g>`;
}

function header(title: string, { subtitle, legend }: Look, { drawn, left }: Layout): string {
  const rest = left > 0 ? ` · ${left.toLocaleString('en-US')} too narrow or too deep to draw` : '';
  const said = drawn === 0 ? 'no samples: nothing ran, or nothing was allocated, while this profile was taken' : `${subtitle} · ${drawn.toLocaleString('en-US')} frames${rest}`;
  const keys = legend.map(([kind, name], index) => {
    const x = pictureWidth - marginX - 92 * (legend.length - index);
    return `<g class="${kind}" transform="translate(${x},62)"><rect width="12" height="12" rx="2"/><text class="key" x="18" y="10">${name}</text></g>`;
  });
  return `<g id="head"><rect class="bg" width="100%" height="${headerHeight - 4}"/><text class="title" x="${marginX}" y="26">${svgText(title, 120)}</text>
<text class="sub" x="${marginX}" y="45">${svgText(said)}</text><g id="keys">${keys.join('')}</g>
<g id="tools" visibility="hidden"><g id="reset" class="button" tabindex="0" role="button" transform="translate(${marginX},56)"><rect width="84" height="24" rx="4"/><text x="42" y="16">Reset zoom</text></g>
<g id="invert" class="button" tabindex="0" role="button" transform="translate(${marginX + 92},56)"><rect width="60" height="24" rx="4"/><text x="30" y="16">Invert</text></g>
<foreignObject x="${marginX + 160}" y="56" width="260" height="24"><input xmlns="http://www.w3.org/1999/xhtml" id="query" type="search" maxlength="200" placeholder="Search: text or /pattern/" aria-label="Search"/></foreignObject>
<text id="matched" class="sub" x="${marginX + 430}" y="73"></text></g><text id="details" x="${marginX}" y="100"></text></g>`;
}
