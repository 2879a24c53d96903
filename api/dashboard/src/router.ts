// Where the page is: a path under /app, and what stands after its question mark. All that matters lives there.
import { useEffect, useState } from "preact/hooks";
import { Store } from "./store";

export const BASE = "/app";

export interface Place {
  /** Without the base, decoded nowhere: `/runs/job_x`. */
  path: string;
  query: URLSearchParams;
}

export const place = new Store<Place>(here());
addEventListener("popstate", () => place.set(here()));

function here(): Place {
  const path = location.pathname.slice(BASE.length).replace(/\/+$/, "");
  return { path: path || "/", query: new URLSearchParams(location.search) };
}

/** Go to a place of the page, such as `/runs?status=running`. */
export function go(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", BASE + to);
  else history.replaceState(null, "", BASE + to);
  place.set(here());
}

/** Put values into the query, or take them out with null, without a step in the history. */
export function setQuery(values: Record<string, string | null>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const tail = query.toString();
  history.replaceState(null, "", location.pathname + (tail ? `?${tail}` : "") + location.hash);
  place.set(here());
}

export function usePlace(): Place {
  const [now, setNow] = useState(place.get());
  useEffect(() => {
    setNow(place.get());
    return place.watch(setNow);
  }, []);
  return now;
}

/** A value that lives in the address: `const [status, setStatus] = useQuery("status", "all")`. */
export function useQuery(name: string, fallback = ""): [string, (value: string) => void] {
  const value = usePlace().query.get(name) ?? fallback;
  return [value, (next) => setQuery({ [name]: next === fallback ? null : next })];
}

/** Match `/runs/:job` against a path; its names with their values, or nothing. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (part.startsWith(":")) found[part.slice(1)] = safe(value);
    else if (part !== value) return undefined;
  }
  return found;
}

function safe(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not ours: it will be an id that nobody knows
  }
}
