/** Everything about the look of the report page. Must not hold a less-than sign: it stands in the document as it is. */
export const htmlReportStyle = `:root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#171b21;--soft:#5a6472;--line:#dde2e8;--hover:#f0f4fa;--link:#1f5fc4;--focus:#2f74e0;
--good:#17734a;--good-paper:#e5f5ec;--bad:#b3261e;--bad-paper:#fdebe9;--warn:#8a5200;--warn-paper:#fdf1dc;--then:#4f74b3;--now:#d9700f;--quiet:#aeb7c2;--code:#f1f3f6}
@media (prefers-color-scheme:dark){:root{--paper:#101317;--card:#181c22;--ink:#e7eaee;--soft:#9aa5b1;--line:#2b323b;--hover:#1f262f;--link:#7db0ff;--focus:#7db0ff;
--good:#5fd39a;--good-paper:#12291f;--bad:#ff8a80;--bad-paper:#331a1a;--warn:#f0b45c;--warn-paper:#302410;--then:#7ea6e8;--now:#f5a04c;--quiet:#4a5460;--code:#11151a}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main,.top{max-width:1320px;margin:0 auto;padding:0 28px}main{padding-bottom:64px}
h1,h2,h3,p,figure,ol,ul,dl,dd{margin:0;padding:0}h2{font-size:18px;margin:36px 0 12px}h3{font-size:13px;color:var(--soft);font-weight:600;margin:0 0 8px}
code,pre,.mono{font-family:ui-monospace,"SFMono-Regular","DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:13px}a{color:var(--link)}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px;border-radius:4px}.soft{color:var(--soft)}.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
header{border-bottom:1px solid var(--line);background:var(--card);border-top:6px solid var(--bad);padding:26px 0 22px}header.pass{border-top-color:var(--good)}
.brand{font-size:13px;color:var(--soft);margin-bottom:10px}h1{font-size:25px;line-height:1.3;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
.badge{display:inline-block;padding:1px 14px 2px;margin-right:10px;border-radius:8px;background:var(--bad);color:var(--card);font-weight:750;letter-spacing:.02em}.pass .badge{background:var(--good)}
.runs-line{color:var(--soft);margin-top:8px}
.bar{display:block;width:100%;height:14px;margin:26px 0 8px;border-radius:7px;overflow:hidden;background:var(--line)}
.keys{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;font-size:13px;color:var(--soft)}.keys svg{width:10px;height:10px;margin-right:6px}.keys b{color:var(--ink);font-weight:600}
.f-equal{fill:var(--good)}.f-same-error{fill:var(--quiet)}.f-different{fill:var(--bad)}.f-new-error{fill:#8e44ad}.f-gone{fill:#d08a1c}.f-not-compared{fill:#7d8894}.f-skipped{fill:var(--line);stroke:var(--quiet)}
.cards{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:12px;margin-top:24px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}.card dt{font-size:13px;color:var(--soft)}.card dd{font-size:25px;font-weight:650;font-variant-numeric:tabular-nums;line-height:1.35;white-space:nowrap}
.card .note{font-size:13px;font-weight:400;color:var(--soft);white-space:normal;line-height:1.4}.card.bad{background:var(--bad-paper);border-color:transparent}.card.bad dd:not(.note){color:var(--bad)}.card.warn{background:var(--warn-paper);border-color:transparent}.card.warn dd:not(.note){color:var(--warn)}.card.good dd:not(.note){color:var(--good)}
.why{list-style:none;background:var(--card);border:1px solid var(--line);border-radius:12px;overflow:hidden}.why li{padding:10px 16px;border-left:4px solid var(--bad);overflow-wrap:anywhere}.why li+li{border-top:1px solid var(--line)}
.why a{color:inherit;text-decoration:none}.why a:hover{text-decoration:underline}
.panel{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px}.two{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:16px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:7px 12px;vertical-align:top}.small th,.small td{padding:4px 10px 4px 0;font-size:14px;border-top:1px solid var(--line);overflow-wrap:anywhere}.small thead th{border-top:0;color:var(--soft);font-weight:600}.small th[scope=row]{font-weight:400;color:var(--soft);overflow-wrap:normal}.small .num{padding-right:0}
.then-text{color:var(--then)!important}.now-text{color:var(--now)!important}
.tools{display:flex;flex-wrap:wrap;gap:12px;align-items:center;margin-bottom:12px}.tools input[type=search]{flex:1 1 260px;max-width:460px;font:inherit;padding:8px 12px;border:1px solid var(--line);border-radius:9px;background:var(--card);color:var(--ink)}
fieldset{border:0;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:6px}legend,.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.chip{position:relative;border:1px solid var(--line);border-radius:99px;padding:5px 13px;background:var(--card);font-size:14px;cursor:pointer}.chip:has(:checked){background:var(--ink);color:var(--card);border-color:var(--ink)}.chip:has(:focus-visible){outline:2px solid var(--focus);outline-offset:2px}.chip:has(:disabled){opacity:.45;cursor:default}.chip b{font-weight:400;opacity:.6;margin-left:4px;font-variant-numeric:tabular-nums}.chip input{position:absolute;opacity:0;inset:0;margin:0;cursor:inherit}
.digests{background:var(--card);border:1px solid var(--line);border-radius:12px}.digests table{table-layout:fixed}
.digests>table>thead th{position:sticky;top:0;background:var(--card);z-index:1;border-bottom:1px solid var(--line);border-radius:12px 12px 0 0;font-size:13px;padding:0}
.digests thead button{all:unset;box-sizing:border-box;display:block;width:100%;padding:10px 12px;cursor:pointer;color:var(--soft);font-weight:600}.digests thead button:focus-visible{outline:2px solid var(--focus);outline-offset:-3px;border-radius:6px}.digests thead button:hover,[aria-sort] button{color:var(--ink)!important}
[aria-sort=descending] button::after{content:" ↓"}[aria-sort=ascending] button::after{content:" ↑"}
.c-found{width:190px}.c-count{width:110px}.c-equal{width:92px}.c-p95{width:104px}.c-ratio{width:138px}
.digest{border-top:1px solid var(--line)}.later{display:none}@media (scripting:none){.later{display:table-row}}.digest:hover{background:var(--hover)}.digest th{font-weight:400;padding:0}
.open{all:unset;box-sizing:border-box;display:flex;gap:10px;width:100%;padding:8px 12px;cursor:pointer}.open:focus-visible{outline:2px solid var(--focus);outline-offset:-3px;border-radius:6px}.open::before{content:"▸";flex:none;width:14px;height:20px;text-align:center;line-height:20px;color:var(--soft);transition:transform .12s}.open[aria-expanded=true]::before{transform:rotate(90deg)}
.open code{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden;overflow-wrap:anywhere;min-width:0}
.tag{display:inline-block;border-radius:6px;padding:0 8px;margin:1px 4px 1px 0;font-size:13px;white-space:nowrap;background:var(--bad-paper);color:var(--bad)}.tag.ok{background:var(--good-paper);color:var(--good)}.tag.warn{background:var(--warn-paper);color:var(--warn)}.tag.none{background:none;color:var(--soft);padding:0}
.ratio{width:56px;height:12px;vertical-align:-1px;margin-left:8px}.ratio line{stroke:var(--quiet)}.ratio .up{fill:var(--bad)}.ratio .down{fill:var(--good)}.ratio .flat{fill:var(--quiet)}.up-text{color:var(--bad)}.down-text{color:var(--good)}
.detail>td{padding:6px 16px 22px 34px;background:var(--hover)}.grid{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:16px}.wide{grid-column:1/-1}.stack{display:grid;gap:16px;align-content:start}.grid .panel{padding:14px 16px}
pre+.soft,table+.soft{margin-top:10px}pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--code);border-radius:8px;padding:10px 12px;max-height:340px;overflow:auto}.plans{display:grid;grid-template-columns:1fr 1fr;gap:12px}.plans pre{white-space:pre;overflow-wrap:normal}
.less,.more{display:inline-block;min-width:100%}.less{background:var(--bad-paper);color:var(--bad)}.more{background:var(--good-paper);color:var(--good)}
.plot{display:block;width:100%;height:auto}.plot text{font:11px system-ui,sans-serif;fill:var(--soft)}.plot .axis{stroke:var(--line)}.plot .then{fill:var(--then);fill-opacity:.3;stroke:var(--then)}.plot .now{fill:var(--now);fill-opacity:.18;stroke:var(--now);stroke-width:1.8}
.plot .mark{stroke-width:1.4;stroke-dasharray:4 3}.plot .mark.then{stroke:var(--then)}.plot .mark.now{stroke:var(--now)}.plot .then-label{fill:var(--then);font-weight:600}.plot .now-label{fill:var(--now);font-weight:600}
#more{font:inherit;padding:8px 18px;margin:14px auto 0;display:block;border:1px solid var(--line);border-radius:9px;background:var(--card);color:var(--ink);cursor:pointer}[hidden]{display:none!important}.pad{padding:28px;text-align:center}
footer{font-size:13px;color:var(--soft);margin-top:32px}
@media (max-width:900px){main,.top{padding-left:14px;padding-right:14px}.two,.grid,.plans{grid-template-columns:minmax(0,1fr)}.cards{grid-template-columns:1fr 1fr}.digests{overflow-x:auto}.digests>table{min-width:900px}.detail>td{padding-left:16px}h1{font-size:20px}}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}@media print{.tools,#more{display:none}body{background:#fff}.digests>table>thead th{position:static}}`;
