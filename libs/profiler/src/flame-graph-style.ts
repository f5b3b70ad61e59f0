/** Pixels. The script knows the same figures through the document. */
export const rowHeight = 18;
export const headerHeight = 112;
export const textMargin = 4;
/** Of the monospaced 12 pixel font of frames, a little generous, as fonts differ. */
export const characterWidth = 7.25;
export const shadesPerKind = 5;

/** A rule per shade: lightness goes up by `step` from `from`. */
function shades(letter: string, hue: number, saturation: number, from: number, step: number): string {
  const rules = Array.from({ length: shadesPerKind }, (_, shade) => `.${letter}${shade} rect{fill:hsl(${hue + 3 * shade} ${saturation}% ${from + step * shade}%)}`);
  return rules.join('');
}

/** Strengths 1 to 5 of a change. */
function changes(letter: string, hue: number, from: number, step: number): string {
  const rules = Array.from({ length: 5 }, (_, index) => `.${letter}${index + 1} rect{fill:hsl(${hue} 75% ${from + step * index}%)}`);
  return rules.join('');
}

const light = `${shades('j', 34, 92, 66, 3)}${shades('n', 205, 55, 72, 3)}${shades('g', 340, 62, 74, 2)}${shades('i', 220, 8, 84, 1)}${changes('u', 8, 88, -6)}${changes('d', 214, 90, -6)}.z rect{fill:#e4e4e2}.root rect{fill:#d5d7db}`;
const dark = `${shades('j', 28, 62, 30, 2)}${shades('n', 208, 42, 34, 3)}${shades('g', 340, 42, 38, 2)}${shades('i', 220, 6, 28, 1)}${changes('u', 6, 28, 5)}${changes('d', 214, 28, 6)}.z rect{fill:#3a3d42}.root rect{fill:#33373e}`;

/** Everything about the look of a flame graph that is not geometry. Must not hold a less-than sign or an ampersand: it stands in the document as it is. */
export const flameGraphStyle = `svg{font-family:system-ui,sans-serif;--paper:#fff;--ink:#1b1f24;--soft:#59636e;--line:#c9d1d9;--mark:#8a2be2;color-scheme:light dark}
.bg{fill:var(--paper)}text{fill:var(--ink);font-size:12px}.l text{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;pointer-events:none;white-space:pre}
.title{font-size:18px;font-weight:600}.sub,.key{fill:var(--soft)}.l g{cursor:pointer}.l g:hover rect{stroke:var(--ink);stroke-width:1}
.button{cursor:pointer}.button rect{fill:var(--paper);stroke:var(--line)}.button text{text-anchor:middle}.button:hover rect,.button:focus rect{stroke:var(--soft)}
.l g.hit rect{fill:var(--mark)}.l g.hit text{fill:#fff}.l g.past{opacity:.45}.off{display:none}
#query{box-sizing:border-box;width:100%;height:24px;font:12px system-ui,sans-serif;color:var(--ink);background:var(--paper);border:1px solid var(--line);border-radius:4px;padding:0 8px}
${light}@media (prefers-color-scheme:dark){svg{--paper:#15181c;--ink:#e6e9ed;--soft:#9aa4af;--line:#3d444d;--mark:#9d4edd}${dark}}`;
