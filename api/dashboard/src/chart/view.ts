// How curves are looked at; it lives in the address, so that a reload and a link show the same.
import { useMemo } from "preact/hooks";
import { setQuery, usePlace } from "../router";
import { AXES, type Axis, type Range } from "./run";

export interface View {
  x: Axis;
  log: boolean;
  /** Weight of the exponential mean, 0 (none) to 0.99. */
  smooth: number;
  /** What part of the x axis; undefined is the whole. */
  range: Range | undefined;
}

export function useView(): [View, (change: Partial<View>) => void] {
  const { query } = usePlace();
  const view = useMemo(() => read(query), [query.get("x"), query.get("log"), query.get("smooth"), query.get("from"), query.get("to")]);
  return [view, change];
}

function read(query: URLSearchParams): View {
  const x = AXES.find((one) => one === query.get("x")) ?? "step";
  const smooth = Number(query.get("smooth") ?? 0);
  const [from, to] = [Number(query.get("from") ?? Number.NaN), Number(query.get("to") ?? Number.NaN)];
  return {
    x,
    log: query.get("log") === "1",
    smooth: smooth > 0 && smooth < 1 ? smooth : 0,
    range: from < to ? [from, to] : undefined,
  };
}

function change(to: Partial<View>): void {
  const values: Record<string, string | null> = {};
  if (to.x) Object.assign(values, { x: to.x === "step" ? null : to.x, from: null, to: null }); // another axis: another range
  if (to.log !== undefined) values["log"] = to.log ? "1" : null;
  if (to.smooth !== undefined) values["smooth"] = to.smooth ? String(to.smooth) : null;
  if ("range" in to) Object.assign(values, { from: short(to.range?.[0]), to: short(to.range?.[1]) });
  setQuery(values);
}

function short(place: number | undefined): string | null {
  return place === undefined ? null : String(Number(place.toPrecision(9)));
}
