// Where the curves of some runs come from: read once, followed while they grow, read finer where one looks closer.
import { api } from "../api/client";
import { asProblem, isAbort, type ApiError } from "../api/problem";
import { follow, type Told } from "../live/line";
import { Store } from "../store";
import { RunCurves, type Answered, type Axis, type Range } from "./run";

/** A run to draw. `last_seq`: its job's, as it was read before the curves are. */
export interface Followed {
  id: string;
  last_seq: number;
  ended: boolean;
}

const POINTS = 1200; // of each curve: about as many as a chart is wide
const GROWN = 2000; // steps heard, after which the whole is thinned again
const REST_MS = 120; // that somebody must rest at a place before it is read finely

export class CurveSource {
  readonly runs = new Map<string, RunCurves>();
  /** Counts up whenever there is something new to draw. */
  readonly changed = new Store(0);
  readonly problem = new Store<ApiError | undefined>(undefined);
  /** Whether the first answers are there. */
  readonly ready = new Store(false);
  #axis: Axis = "step";
  #range: Range | undefined;
  #given = new AbortController();
  #looking = new AbortController();
  #rest: ReturnType<typeof setTimeout> | undefined;
  #ends: (() => void)[] = [];

  constructor(private readonly followed: readonly Followed[], private readonly keys: readonly string[]) {
    for (const one of followed) this.runs.set(one.id, new RunCurves());
  }

  start(axis: Axis, range: Range | undefined): void {
    this.#axis = axis;
    this.#range = range;
    for (const one of this.followed) {
      if (!one.ended) this.#ends.push(follow(one.id, one.last_seq, (told) => this.#hear(one.id, told)));
    }
    void this.#load();
  }

  stop(): void {
    this.#given.abort();
    this.#looking.abort();
    clearTimeout(this.#rest);
    for (const end of this.#ends) end();
  }

  /** Read all of it again, such as after a failure. */
  again(): void {
    this.problem.set(undefined);
    void this.#load();
  }

  /** Look at a part of an axis, or with `undefined` at the whole. */
  look(axis: Axis, range: Range | undefined): void {
    const other = axis !== this.#axis;
    this.#axis = axis;
    this.#range = range;
    if (other) void this.#load();
    else this.#lookSoon();
  }

  #hear(run: string, told: Told[]): void {
    const curves = this.runs.get(run);
    if (!curves) return;
    curves.hear(told);
    this.#drawn();
    if (curves.heard > GROWN) void this.#whole(run, curves).catch(() => undefined); // what is there is right, only long
  }

  #drawn(): void {
    this.changed.change((times) => times + 1);
  }

  async #load(): Promise<void> {
    try {
      await Promise.all([...this.runs].map(([run, curves]) => this.#whole(run, curves)));
      this.ready.set(true);
      this.#drawn();
      this.#lookSoon();
    } catch (thrown) {
      if (!isAbort(thrown)) this.problem.set(asProblem(thrown));
    }
  }

  async #whole(run: string, curves: RunCurves): Promise<void> {
    curves.heard = 0;
    for (;;) {
      const { rewound } = curves;
      const answer = await this.#ask(run, {}, this.#given.signal);
      if (curves.rewound !== rewound) continue;
      curves.takeWhole(answer);
      return this.#drawn();
    }
  }

  #lookSoon(): void {
    clearTimeout(this.#rest);
    this.#looking.abort();
    this.#looking = new AbortController();
    const { signal } = this.#looking;
    if (!this.#range) {
      for (const curves of this.runs.values()) curves.dropPart();
      return this.#drawn();
    }
    const range = this.#range;
    this.#rest = setTimeout(() => {
      for (const [run, curves] of this.runs) void this.#part(run, curves, range, signal).catch(() => undefined);
    }, REST_MS); // a part that does not come leaves the whole in sight
  }

  async #part(run: string, curves: RunCurves, range: Range, signal: AbortSignal): Promise<void> {
    const [since_step, until_step] = curves.stepsWithin(range, this.#axis);
    if (!(until_step >= since_step)) return; // also where its axis is not known yet
    const { rewound } = curves;
    const answer = await this.#ask(run, { since_step, until_step }, signal);
    if (signal.aborted || curves.rewound !== rewound) return;
    curves.takePart(answer, [since_step, until_step]);
    this.#drawn();
  }

  async #ask(run: string, part: { since_step?: number; until_step?: number }, signal: AbortSignal): Promise<Answered> {
    const scale = this.#axis === "epoch" || this.#axis === "tokens" ? [this.#axis] : [];
    const keys = [...new Set([...this.keys, ...scale])].join();
    const query = { keys, max_points: POINTS, with_times: this.#axis === "time", ...part };
    return (await api.get("/jobs/{job_id}/metrics", { path: { job_id: run }, query, signal })) as Answered;
  }
}
