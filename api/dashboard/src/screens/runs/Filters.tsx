import { setQuery, usePlace } from "../../router";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import type { Status } from "../../api/types";

const words = t.runs.filter;
const STATUSES: readonly Status[] = ["running", "queued", "paused", "succeeded", "failed", "cancelled"];
const KINDS = ["train", "evaluate", "export"] as const;
const NAMES = ["status", "kind", "model", "alpha_min", "alpha_max", "tag"] as const;

interface Query {
  status?: Status;
  kind?: (typeof KINDS)[number];
  model?: string;
  alpha_min?: number;
  alpha_max?: number;
  tag?: string;
}

/** What is asked for, as it stands in the address; what the service would refuse is left out. */
export function useFilters(): { query: Query; any: boolean; key: string } {
  const given = usePlace().query;
  const status = STATUSES.find((one) => one === given.get("status"));
  const kind = KINDS.find((one) => one === given.get("kind"));
  const query: Query = {
    ...(status ? { status } : {}),
    ...(kind ? { kind } : {}),
    ...named("model", given.get("model")?.slice(0, 256)),
    ...named("tag", given.get("tag")?.slice(0, 64)),
    ...bound("alpha_min", given.get("alpha_min")),
    ...bound("alpha_max", given.get("alpha_max")),
  };
  const key = JSON.stringify(query);
  return { query, any: key !== "{}", key };
}

function named(name: "model" | "tag", value: string | undefined): Query {
  return value ? { [name]: value } : {};
}

function bound(name: "alpha_min" | "alpha_max", value: string | null): Query {
  const number = Number(value);
  return value && number >= 0 && number <= 100 ? { [name]: number } : {};
}

export function Filters() {
  const { query } = usePlace();
  const { any } = useFilters();
  const of = (name: string): string => query.get(name) ?? "";
  const set = (name: string) => (event: { currentTarget: { value: string } }): void => setQuery({ [name]: event.currentTarget.value });
  return (
    <form class="runs-filters" role="search" aria-label={words.label} onSubmit={(event) => event.preventDefault()}>
      <label>{words.status} <select value={of("status")} onChange={set("status")}>
        <option value="">{words.any}</option>
        {STATUSES.map((one) => <option key={one} value={one}>{t.status[one]}</option>)}
      </select></label>
      <label>{words.kind} <select value={of("kind")} onChange={set("kind")}>
        <option value="">{words.any}</option>
        {KINDS.map((one) => <option key={one} value={one}>{t.runs.kind[one]}</option>)}
      </select></label>
      <label>{words.model} <input value={of("model")} maxLength={256} onChange={set("model")} /></label>
      <label>{words.tag} <input value={of("tag")} maxLength={64} onChange={set("tag")} /></label>
      <label>{words.alphaMin} <input type="number" min="0" max="100" step="any" value={of("alpha_min")} onChange={set("alpha_min")} /></label>
      <label>{words.alphaMax} <input type="number" min="0" max="100" step="any" value={of("alpha_max")} onChange={set("alpha_max")} /></label>
      {any && <Button onClick={() => setQuery(Object.fromEntries(NAMES.map((one) => [one, null])))}>{words.clear}</Button>}
    </form>
  );
}
