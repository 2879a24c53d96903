"""How a report looks, in light and dark, on paper and on a small screen;
and what a page may load: nothing."""

import base64
import hashlib

SHEET = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--dim:#57606a;--line:#d0d7de;--soft:#f6f8fa;
--good:#116329;
--warn:#7d4e00;--warnbg:#fff8e6;--c0:#0b62a8;--c1:#b3430a;--c2:#0a7a5c;--c3:#8a3f8f;--c4:#7a6400;
--c5:#444c56}
@media (prefers-color-scheme:dark){:root{--page:#11151a;--ink:#e6edf3;--dim:#9aa7b4;--line:#343b44;
--soft:#1a2027;
--good:#5fd382;--warn:#f0c674;--warnbg:#2a2413;--c0:#6cb6ff;--c1:#ff9d5c;--c2:#56d6ad;--c3:#dba1e0;
--c4:#d9c14a;
--c5:#b4bec9}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:0}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}
h3{font-size:1rem;margin:1.25rem 0 .25rem}
p{margin:.4rem 0;max-width:46rem}.dim{color:var(--dim)}
.verdict{border:2px solid var(--line);border-left-width:.5rem;border-radius:.4rem;padding:.6rem 1rem;
margin:1.25rem 0;
background:var(--soft)}
.verdict h2{border:0;margin:0;padding:0;font-size:1rem;color:var(--dim)}
.verdict p:first-of-type{font-size:1.15rem;font-weight:600}
.recommended{border-left-color:var(--good)}.inconclusive,.not_recommended{border-left-color:var(--warn)}
.caveats{background:var(--warnbg);border-radius:.4rem;padding:.6rem 1rem .6rem 2rem;margin:.5rem 0}
.caveats li{margin:.3rem 0}.code{font:.8rem ui-monospace,monospace;color:var(--dim)}
.wide{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
caption{text-align:left;color:var(--dim);padding-bottom:.3rem}
caption>*{display:inline-block;position:sticky;left:0;max-width:calc(100vw - 2rem)}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;
overflow-wrap:normal}
th{font-weight:600}.n{text-align:right;white-space:nowrap}
td:not(.n),th{max-width:24rem;overflow-wrap:break-word}
tbody th:not(.n){min-width:9rem}
figure{margin:1rem 0}figcaption{color:var(--dim);font-size:.9rem}
figure>svg{width:100%;height:auto;max-width:46rem;display:block}
svg text{fill:var(--dim);font-size:12px;font-family:system-ui,sans-serif}
.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--line);stroke-width:1}.nothing{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
.line,.steps{fill:none;stroke-width:2}.steps{fill-opacity:.12}.span{stroke-width:3}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1);stroke-dasharray:7 3}.s2{stroke:var(--c2);stroke-dasharray:2 3}
.s3{stroke:var(--c3);stroke-dasharray:9 3 2 3}.s4{stroke:var(--c4);stroke-dasharray:4 4}
.s5{stroke:var(--c5);stroke-dasharray:12 4}
.steps.s0,.mark.s0{fill:var(--c0)}.steps.s1,.mark.s1{fill:var(--c1)}.steps.s2,.mark.s2{fill:var(--c2)}
.steps.s3,.mark.s3{fill:var(--c3)}.steps.s4,.mark.s4{fill:var(--c4)}.steps.s5,.mark.s5{fill:var(--c5)}
.mark{stroke:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.3rem 0;
font-size:.9rem}
.sample{width:34px;height:14px;vertical-align:middle;margin-right:.4rem}
.pair{border:1px solid var(--line);border-radius:.4rem;padding:.5rem 1rem;margin:1rem 0}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:0 1.5rem}
blockquote{margin:.2rem 0 .8rem;padding:.3rem .7rem;background:var(--soft);
border-left:3px solid var(--line);
white-space:pre-wrap;font-size:.9rem}
@media (max-width:40rem){td:not(.n),th{max-width:11rem}figure>svg text{font-size:18px}}
@media print{body{max-width:none}figure,.pair,tr{break-inside:avoid}}
"""

_DIGEST = base64.b64encode(hashlib.sha256(SHEET.encode()).digest()).decode()
# What a browser may do with the page, wherever it is opened: show it in this style, and nothing else.
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
