// Places on the axes as people read them.
import { duration, figure, whole } from "../format";
import type { Axis } from "./run";

export function placeInWords(place: number, axis: Axis): string {
  if (axis === "time") return place < 0 ? "" : duration(place);
  if (axis === "epoch") return figure(place, 4);
  if (axis === "tokens" && Math.abs(place) >= 1e6) return `${figure(place / 1e6, 4)} M`;
  return Number.isInteger(place) ? whole(place) : "";
}

const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];

/** How far marks of a time axis may be apart, so that they are times that people count in. */
export const APART_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY, 20 * DAY, 50 * DAY];

/** Marks of the x axis: of time as finely as neighbours are apart. */
export function placesInWords(places: readonly number[], axis: Axis): string[] {
  const apart = (places[1] ?? 0) - (places[0] ?? 0);
  return places.map((one) => (axis === "time" && one >= 0 ? timed(one, apart) : placeInWords(one, axis)));
}

function timed(seconds: number, apart: number): string {
  const tenths = Math.round(seconds * 10);
  if (tenths === 0) return "0s";
  const units: [string, number, number][] = [["d", Math.floor(tenths / (DAY * 10)), DAY], ["h", Math.floor(tenths / (HOUR * 10)) % 24, HOUR],
    ["m", Math.floor(tenths / (MINUTE * 10)) % 60, MINUTE], ["s", (tenths % (MINUTE * 10)) / 10, 0]];
  return units.filter(([, count, long]) => count > 0 && (long >= MINUTE || apart < MINUTE)).map(([unit, count]) => `${count}${unit}`).join(" ");
}

/** The same for one place that is pointed at, which lies anywhere. */
export function pointedAt(place: number, axis: Axis): string {
  return axis === "step" || axis === "tokens" ? whole(Math.round(place)) : placeInWords(place, axis);
}

/** Marks of the y axis: as many decimals as tell neighbours apart; what is huge or tiny by its power of ten. */
export function levelsInWords(levels: readonly (number | null)[], log: boolean): string[] {
  const marks = levels.filter((one) => one !== null);
  const most = Math.max(...marks.map(Math.abs));
  const apart = Math.abs((marks[1] ?? 0) - (marks[0] ?? 0));
  const digits = apart > 0 ? Math.max(0, Math.ceil(-Math.log10(apart) - 1e-9)) : 0;
  const said = (one: number): string => {
    if (one === 0) return "0";
    if (log) return most >= 1e6 && one >= 1e3 ? one.toExponential(0).replace("e+", "e") : figure(one, 2);
    if (most >= 1e6 || most < 1e-4) return one.toExponential(1).replace(".0e", "e").replace("e+", "e");
    const shown = needed(digits, apart);
    return shown === 0 ? whole(Math.round(one)) : one.toFixed(shown);
  };
  return levels.map((one) => (one === null ? "" : said(one)));
}

/** One decimal more for steps such as 2.5 and 0.25. */
function needed(digits: number, apart: number): number {
  return Math.abs(Number(apart.toFixed(digits)) - apart) > apart / 100 ? digits + 1 : digits;
}
