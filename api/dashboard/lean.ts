// What the charts never use of uPlot, and a browser need not load: dates on axes, a legend of its own, bars and splines.
import type { Plugin } from "vite";

/** What is taken out, and what takes its place; what then nobody asks for, the bundler leaves out by itself. */
const UNUSED: readonly (readonly [is: string, becomes: string])[] = [
  ["(paths.stepped = stepped);", ""],
  ["(paths.bars    = bars);", ""],
  ["(paths.spline  = monotoneCubic);", ""],
  ["uPlot.fmtDate = fmtDate;", ""],
  ["uPlot.tzDate  = tzDate;", ""],
  ["const [ timeIncrsMs, _timeAxisStampsMs, timeAxisSplitsMs ] = genTimeStuffs(1);", ""],
  ["const [ timeIncrsS,  _timeAxisStampsS,  timeAxisSplitsS  ] = genTimeStuffs(1e-3);", ""],
  ["const _tzDate  = (opts.tzDate || (ts => new Date(round(ts / ms))));", ""],
  ["const _fmtDate = (opts.fmtDate || fmtDate);", ""],
  ["const _timeAxisSplits = (ms == 1 ? timeAxisSplitsMs(_tzDate) : timeAxisSplitsS(_tzDate));", ""],
  ["const _timeAxisVals   = timeAxisVals(_tzDate, timeAxisStamps((ms == 1 ? _timeAxisStampsMs : _timeAxisStampsS), _fmtDate));", ""],
  ["const _timeSeriesVal  = timeSeriesVal(_tzDate, timeSeriesStamp(_timeSeriesStamp, _fmtDate));", ""],
  ["let isTime = sc.time;", "const isTime = false;"],
  ["let isTime = mode == 1 && scales[s.scale].time;", "const isTime = false;"],
  ["const showLegend = legend.show;", "const showLegend = false;"],
];

/** Leave it out of the build; an edition of uPlot in which it is written otherwise fails the build. */
export function leanCharts(): Plugin {
  return {
    name: "lean-charts",
    apply: "build",
    transform: {
      filter: { id: /\/uPlot\.esm\.js$/ },
      handler(code) {
        let lean = code;
        for (const [is, becomes] of UNUSED) {
          if (!lean.includes(is)) this.error(`lean.ts: uPlot has no more: ${is}`);
          lean = lean.replaceAll(is, becomes);
        }
        return { code: lean, map: null };
      },
    },
  };
}
