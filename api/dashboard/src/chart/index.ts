// Charts of curves, for any screen:
//
//   const [view, setView] = useView();                        // x axis, log, smoothing, range: in the address
//   const curves = useCurves(runs, KEYS, view);               // runs: {id, last_seq, ended}; one source for all charts
//   <ChartControls view={view} onView={setView} />
//   <Chart title={…} of={curves} view={view} onView={setView} together="run" levels={[{ value, label }]}
//     lines={[{ run: id, key: "train_loss", label, colour: "--noisy", soft: true },
//             { run: id, key: "eval_loss", minus: "clean_train_loss", label, colour: "--series-1", dash: [6, 3] }]} />
//
// Several runs, one curve of each, chosen by the reader: <Together members={[{ id, last_seq, ended, label, colour }]} />
//
// Make `lines` and `levels` with useMemo: a new list is a new chart. `runs` may be any; more than 20 that have not
// ended are followed no further than the first 20. `together`: charts with this word share their cursor.
export { Chart } from "./Chart";
export { ChartControls } from "./Controls";
export type { Level, Line } from "./drawing";
export { colourOf, dashOf, Together, type Member } from "./Together";
export { Sparkline } from "./Sparkline";
export type { CurveSource, Followed } from "./source";
export { useCurves } from "./useCurves";
export { useView, type View } from "./view";
