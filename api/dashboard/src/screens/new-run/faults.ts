// Where the service's faults belong: its JSON pointers, turned into the names of the form's fields.
import type { ApiError, Fault } from "../../api/problem";
import { t } from "../../texts";
import { ALL } from "./fields";

export interface Placed {
  /** What is wrong, by the name of the field. */
  by: Readonly<Record<string, string>>;
  /** What belongs to no field of the form. */
  elsewhere: readonly Fault[];
}

const OWN: readonly (readonly [string, string])[] = [
  ["alpha", "alpha"], ["alpha", "alphas"], ["seed", "seeds"], ["strategy", "strategy"],
  ["name", "name"], ["model", "model"], ["dataset", "dataset"], ["preset", "preset"],
];

export function placed(problem: ApiError | undefined, series: boolean): Placed {
  const by: Record<string, string> = {};
  const elsewhere: Fault[] = [];
  for (const fault of problem?.faults ?? []) {
    const names = fault.pointer.split("/").slice(1);
    const name = fieldOf(series && names[0] === "job" ? names.slice(1) : names, series);
    const said = fault.code === "missing_field" ? t.newRun.needed : name === "dataset" && fault.code === "not_found" ? t.newRun.gone : fault.message;
    if (name) by[name] ??= said; // of several at one place, the first says enough
    else elsewhere.push(fault);
  }
  return { by, elsewhere };
}

/** The field with this place, or the one that it lies within. */
function fieldOf(names: readonly string[], series: boolean): string | undefined {
  const own = OWN.filter(([place]) => place === names[0]).map(([, name]) => name);
  if (own.length > 0) return own.find((name) => (name === "alphas") === series) ?? own[0];
  for (let count = names.length; count > 0; count -= 1) {
    const at = names.slice(0, count).join(".");
    const found = ALL.find((field) => field.at === at || field.at.startsWith(`${at}.`));
    if (found) return found.at;
  }
  return undefined;
}
