// From the curves of runs to the columns that uPlot draws. Knows no canvas.
import uPlot from "uplot";
import { figure } from "../format";
import { t } from "../texts";
import { difference, smoothed, type Points } from "./points";
import type { RunCurves } from "./run";
import type { View } from "./view";

/** One line of a chart. */
export interface Line {
  run: string;
  /** Name of the curve, such as `train_loss`. */
  key: string;
  /** Draw the difference to this other curve of the run, at the steps of the one that has fewer. */
  minus?: string;
  label: string;
  /** A design token, such as `--series-1`. */
  colour: string;
  /** Lengths of dashes and gaps: lines are told apart without colours, too. */
  dash?: readonly number[];
  /** Behind the others, and thin. */
  soft?: boolean;
}

/** A level to compare with, such as the base's loss. */
export interface Level {
  value: number;
  label: string;
  colour?: string;
}

/** What a line shows now: its places on the x axis with its steps, as measured, and as drawn. */
export interface Drawn {
  line: Line;
  steps: readonly number[];
  places: readonly number[];
  raw: readonly number[];
  values: readonly number[];
}

export function drawnOf(line: Line, curves: RunCurves | undefined, view: View): Drawn {
  const points: Points = !curves
    ? { steps: [], values: [] }
    : line.minus === undefined ? curves.curve(line.key) : difference(curves.curve(line.key), curves.curve(line.minus));
  const places = curves ? curves.places(points.steps, view.x) : [];
  const values = view.smooth > 0 ? smoothed(points.values, view.smooth) : points.values;
  return { line, steps: points.steps, places, raw: points.values, values };
}

/**
 * Columns: places, each line, and with smoothing what each smoothed line was made of. A logarithm has no room for
 * what is not above zero, so that is left out.
 */
export function columns(drawn: readonly Drawn[], view: View): uPlot.AlignedData {
  const tables = drawn.map((one) => table(one.places, one.values, view.log));
  if (view.smooth > 0) tables.push(...drawn.map((one) => table(one.places, one.raw, view.log)));
  return tables.length > 0 ? uPlot.join(tables) : [[]];
}

function table(places: readonly number[], values: readonly number[], log: boolean): uPlot.AlignedData {
  if (!log) return [[...places], [...values]];
  const kept = places.map((_, index) => index).filter((index) => (values[index] ?? 0) > 0);
  return [kept.map((index) => places[index] ?? 0), kept.map((index) => values[index] ?? 0)];
}

/** The chart in words, for who does not see it. */
export function inWords(title: string, drawn: readonly Drawn[], levels: readonly Level[]): string {
  const lines = drawn.filter((one) => one.values.length > 0).map(({ line, steps, raw }) => {
    const low = raw.reduce((a, b) => Math.min(a, b), Infinity);
    const high = raw.reduce((a, b) => Math.max(a, b), -Infinity);
    return t.chart.line(line.label, figure(raw[0]), figure(raw.at(-1)), steps.at(-1) ?? 0, figure(low), figure(high));
  });
  const marks = levels.map((one) => t.chart.level(one.label, figure(one.value)));
  return [title, ...(lines.length > 0 ? lines : [t.chart.nothing]), ...marks].join(". ");
}
