// A line that rises and falls with every point is a hatching: a wide stroke or dashes show nothing there, and keep a
// machine that draws without a graphics card busy for half a second a frame.
import type uPlot from "uplot";

const HATCHED = 8; // a line this many times as long as the chart is wide

export interface Stroke {
  width: number;
  dash?: readonly number[];
}

/** Give each line its stroke, or where it is a hatching the thinnest there is; `of`: the stroke of a series. */
export function stroked(plot: uPlot, of: (series: number) => Stroke): void {
  for (const [index, series] of plot.series.entries()) {
    if (index === 0 || !series.show) continue;
    const thin = length(plot, index) > HATCHED * plot.bbox.width;
    const { width, dash = [] } = thin ? { width: 1 / devicePixelRatio } : of(index);
    Object.assign(series, { width, dash: [...dash] });
  }
}

/** How far the line goes up and down within sight, in pixels of the canvas. */
function length(plot: uPlot, series: number): number {
  const [first, last] = plot.series[0]?.idxs ?? [0, 0];
  const values = plot.data[series] ?? [];
  let sum = 0;
  let before: number | undefined;
  for (let index = first; index <= last; index += 1) {
    const value = values[index];
    if (value === null || value === undefined) continue;
    const y = plot.valToPos(value, "y", true);
    if (before !== undefined) sum += Math.abs(y - before);
    before = y;
  }
  return sum;
}
