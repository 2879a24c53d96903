// The configuration of runs as lines, and which of them differ. Pure.
import type { Found } from "./runs";

export interface Setting {
  /** `training.learning_rate`; what a run's `auto` came to mean begins with `resolved.`. */
  name: string;
  /** One for each run, as JSON; undefined where a run has none. */
  values: readonly (string | undefined)[];
  differs: boolean;
}

const RESOLVED = "resolved.";
const UNTOLD = new Set(["name", "tags", "metadata"]); // labels, which decide nothing

/** Names that are told by both, spec and resolution, once: what was asked comes first. */
export function settingsOf(runs: readonly Found[]): Setting[] {
  const told = runs.map(({ job }) => new Map([...flat(job.spec, "", UNTOLD), ...flat(job.resolved ?? {}, RESOLVED, new Set())]));
  const names = [...new Set(told.flatMap((one) => [...one.keys()]))];
  return names.map((name) => {
    const values = told.map((one) => one.get(name));
    const known = name.startsWith(RESOLVED) ? values.filter((one) => one !== undefined) : values; // before it runs, a run has resolved nothing
    return { name, values, differs: new Set(known).size > 1 };
  });
}

function* flat(value: Record<string, unknown>, before: string, without: ReadonlySet<string>): Generator<[string, string]> {
  for (const [name, one] of Object.entries(value)) {
    if (without.has(name)) continue;
    if (typeof one === "object" && one !== null && !Array.isArray(one)) yield* flat(one as Record<string, unknown>, `${before}${name}.`, new Set());
    else yield [before + name, typeof one === "string" ? one : JSON.stringify(one)];
  }
}
