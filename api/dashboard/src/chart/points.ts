// A curve: values over steps, in step order. Knows nothing of where they come from, or how they are drawn.

export interface Points {
  steps: number[];
  values: number[];
}

export function noPoints(): Points {
  return { steps: [], values: [] };
}

export function pointsOf(pairs: readonly (readonly number[])[]): Points {
  return { steps: pairs.map((one) => one[0] ?? 0), values: pairs.map((one) => one[1] ?? 0) };
}

/** The index of the first number that is not smaller. */
export function lowerBound(sorted: ArrayLike<number>, wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? Infinity) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Set the value of a step: one that is new goes where it belongs, one that ran again replaces the old. */
export function put(points: Points, step: number, value: number): void {
  const last = points.steps.at(-1);
  if (last === undefined || step > last) {
    points.steps.push(step);
    points.values.push(value);
    return;
  }
  const index = lowerBound(points.steps, step);
  const known = points.steps[index] === step ? 1 : 0;
  points.steps.splice(index, known, step);
  points.values.splice(index, known, value);
}

/** Forget what lies after a step. */
export function cutAfter(points: Points, step: number): void {
  const index = lowerBound(points.steps, step + 1);
  points.steps.length = index;
  points.values.length = index;
}

/** The points from one step to another, both included. */
export function between(points: Points, from: number, to: number): Points {
  const begin = lowerBound(points.steps, from);
  const end = lowerBound(points.steps, to + 1);
  return { steps: points.steps.slice(begin, end), values: points.values.slice(begin, end) };
}

/** One after the other, where they do not overlap. */
export function joined(...parts: readonly Points[]): Points {
  return { steps: parts.flatMap((one) => one.steps), values: parts.flatMap((one) => one.values) };
}

/** Read a table of two columns at a place, straight between its rows and straight on beyond its last ones. */
export function read(from: readonly number[], to: readonly number[], place: number): number {
  const count = from.length;
  if (count === 0) return Number.NaN;
  if (count === 1) return to[0] ?? Number.NaN;
  const index = Math.min(count - 1, Math.max(1, lowerBound(from, place)));
  const [a = 0, b = 0, c = 0, d = 0] = [from[index - 1], from[index], to[index - 1], to[index]];
  return b === a ? d : c + ((place - a) / (b - a)) * (d - c);
}

/** What a curve is at a step: exactly where it was measured, straight between two measures, nothing outside. */
export function valueAt(points: Points, step: number): number | undefined {
  const { steps, values } = points;
  const index = lowerBound(steps, step);
  if (steps[index] === step) return values[index];
  return index === 0 || index === steps.length ? undefined : read(steps, values, step);
}

/** One curve less another of the same run, at the steps of the one with fewer: there both were measured, mostly. */
export function difference(one: Points, other: Points): Points {
  const found = noPoints();
  for (const step of (one.steps.length < other.steps.length ? one : other).steps) {
    const [minuend, subtrahend] = [valueAt(one, step), valueAt(other, step)];
    if (minuend === undefined || subtrahend === undefined) continue;
    found.steps.push(step);
    found.values.push(minuend - subtrahend);
  }
  return found;
}

/** An exponential mean, which is not drawn towards zero where it begins; `weight` from 0 (none) to below 1. */
export function smoothed(values: readonly number[], weight: number): number[] {
  let mean = 0;
  let share = 0;
  return values.map((value) => {
    mean = mean * weight + value * (1 - weight);
    share = share * weight + (1 - weight);
    return mean / share;
  });
}
