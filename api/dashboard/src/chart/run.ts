// The curves of one run as far as this page has them: the whole thinly, a part of it finely, and what it said since.
import type { Told } from "../live/line";
import { between, cutAfter, joined, noPoints, pointsOf, put, read, type Points } from "./points";

export type Axis = "step" | "epoch" | "tokens" | "time";
export const AXES: readonly Axis[] = ["step", "epoch", "tokens", "time"];
export type Range = readonly [from: number, to: number];

/** What `GET /jobs/{job_id}/metrics` answers. */
export interface Answered {
  series: Record<string, number[][]>;
  times?: [number, string][];
}

interface Part {
  series: Map<string, Points>;
  range: Range;
}

export class RunCurves {
  #whole = new Map<string, Points>();
  #part: Part | undefined;
  #times = noPoints(); // milliseconds
  /** How many steps were heard since the whole was read: with many, the curve is worth thinning again. */
  heard = 0;
  /** Counts how often steps were taken back: an answer from before then is worth nothing. */
  rewound = 0;

  /** Take the whole curves as the service thinned them; what was heard meanwhile and goes further stays. */
  takeWhole(answer: Answered): void {
    this.#whole = this.#withNewer(answer, Infinity);
    if (answer.times) this.#times = pointsOf(answer.times.map(([step, time]) => [step, Date.parse(time)]));
    this.heard = 0;
  }

  takePart(answer: Answered, range: Range): void {
    this.#part = { series: this.#withNewer(answer, range[1]), range };
  }

  #withNewer(answer: Answered, until: number): Map<string, Points> {
    const curves = curvesOf(answer);
    for (const [key, points] of this.#whole) {
      const known = curves.get(key) ?? noPoints();
      const newer = between(points, (known.steps.at(-1) ?? -1) + 1, until);
      if (newer.steps.length > 0 && (known.steps.length > 0 || until === Infinity)) curves.set(key, joined(known, newer));
    }
    return curves;
  }

  dropPart(): void {
    this.#part = undefined;
  }

  hear(told: readonly Told[]): void {
    for (const one of told) {
      if (one.kind === "metric") this.#add(one.step, one.values);
      else if (one.kind === "event" && one.name === "rewound") this.#rewind(Number(one.data["step"] ?? 0));
    }
  }

  #add(step: number, values: Record<string, number | null>): void {
    this.heard += 1;
    const part = this.#part && step >= this.#part.range[0] && step <= this.#part.range[1] ? this.#part : undefined;
    for (const [key, value] of Object.entries(values)) {
      if (value === null) continue;
      put(found(this.#whole, key), step, value);
      if (part) put(found(part.series, key), step, value);
    }
    const last = this.#times.steps.at(-1);
    if (last !== undefined && step > last) put(this.#times, step, Date.now());
  }

  #rewind(step: number): void {
    this.rewound += 1;
    for (const points of [...this.#whole.values(), ...(this.#part?.series.values() ?? []), this.#times]) cutAfter(points, step);
  }

  /** A curve: fine where a part was read, else as it is in the whole. */
  curve(key: string): Points {
    const whole = this.#whole.get(key) ?? noPoints();
    const fine = this.#part?.series.get(key);
    if (!this.#part || !fine) return whole;
    const [from, to] = this.#part.range;
    return joined(between(whole, -1, from - 1), fine, between(whole, to + 1, Infinity));
  }

  /** Steps with their places on an axis; both rise. */
  #scale(axis: Axis): Points {
    if (axis !== "time") return this.curve(axis);
    const start = this.#times.values[0] ?? 0;
    return { steps: this.#times.steps, values: this.#times.values.map((one) => (one - start) / 1000) };
  }

  /** Where steps lie on an axis; each further right than the one before, as the chart needs it. */
  places(steps: readonly number[], axis: Axis): number[] {
    if (axis === "step") return [...steps];
    const scale = this.#scale(axis);
    let before = -Infinity;
    return steps.map((step) => (before = Math.max(read(scale.steps, scale.values, step), before + 1e-6)));
  }

  /** Which steps lie within a range of an axis, with a margin, so that a small pan shows something fine at once. */
  stepsWithin(range: Range, axis: Axis): Range {
    const [from, to] = axis === "step" ? range : range.map((place) => read(this.#scale(axis).values, this.#scale(axis).steps, place)) as [number, number];
    const margin = (to - from) * 0.25;
    return [Math.max(0, Math.floor(from - margin)), Math.max(0, Math.ceil(to + margin))];
  }

  /** The last step there is of any curve. */
  get last(): number | undefined {
    const ends = [...this.#whole.values()].map((points) => points.steps.at(-1) ?? -1);
    const most = Math.max(-1, ...ends);
    return most < 0 ? undefined : most;
  }

  get latest(): Map<string, number> {
    return new Map([...this.#whole].flatMap(([key, { values }]) => (values.length > 0 ? [[key, values.at(-1) ?? 0]] : [])));
  }
}

function curvesOf(answer: Answered): Map<string, Points> {
  return new Map(Object.entries(answer.series).map(([key, pairs]) => [key, pointsOf(pairs)]));
}

function found(curves: Map<string, Points>, key: string): Points {
  let points = curves.get(key);
  if (!points) curves.set(key, (points = noPoints()));
  return points;
}
