// Moving in a chart: a drag zooms, with Shift it pans; the wheel pans sideways, and with Ctrl it zooms.
import type uPlot from "uplot";
import type { Range } from "./run";

type OnRange = (range: Range | undefined) => void;

export function zoomed(plot: uPlot, onRange: OnRange): void {
  const { left, width } = plot.select;
  if (width < 4) return;
  onRange([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
}

/** Move with the mouse until it is let go; `hold` says that what comes meanwhile must not move the chart. */
export function panning(plot: uPlot, down: MouseEvent, hold: (on: boolean) => void, onRange: OnRange): null {
  const { min = 0, max = 1 } = plot.scales["x"] ?? {};
  const perPixel = (max - min) / plot.over.clientWidth;
  let range: Range = [min, max];
  let frame = 0;
  const move = (event: MouseEvent): void => {
    const by = (down.clientX - event.clientX) * perPixel;
    range = [min + by, max + by];
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => plot.setScale("x", { min: range[0], max: range[1] }));
  };
  const up = (): void => {
    removeEventListener("mousemove", move);
    removeEventListener("mouseup", up);
    cancelAnimationFrame(frame);
    hold(false);
    onRange(range);
  };
  hold(true);
  addEventListener("mousemove", move);
  addEventListener("mouseup", up);
  down.preventDefault();
  return null;
}

export function wheeling(plot: uPlot, onRange: OnRange): void {
  plot.over.addEventListener("wheel", (event) => {
    const { min, max } = plot.scales["x"] ?? {};
    if (min === undefined || max === undefined) return;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.metaKey && !sideways) return; // the page scrolls
    event.preventDefault();
    if (sideways) return onRange(shifted([min, max], event.deltaX / plot.over.clientWidth));
    onRange(scaled([min, max], 1.1 ** Math.sign(event.deltaY), plot.posToVal(event.offsetX, "x")));
  }, { passive: false });
}

/** Move a range by a share of its width. */
export function shifted([from, to]: Range, share: number): Range {
  const by = (to - from) * share;
  return [from + by, to + by];
}

/** Widen a range (above 1) or narrow it (below), around a place that stays where it is. */
export function scaled([from, to]: Range, factor: number, around = (from + to) / 2): Range {
  return [around - (around - from) * factor, around + (to - around) * factor];
}
