// The form as texts under names, as it stands in the address: so a reload, a link and a copy of a run are the same thing.
// From it come the bodies that the service takes. What is typed is sent as it is meant; the service says what is wrong.
import type { JobDetail } from "../../api/types";
import { ALL, type Field } from "./fields";

export type Draft = Readonly<Record<string, string>>;
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export interface Body {
  [name: string]: Json;
}

export const RECIPES = ["plain", "neftune", "paper", "series"] as const;
export type Recipe = (typeof RECIPES)[number];

const OWN = ["from", "recipe", "model", "dataset", "name", "alpha", "alphas", "seeds", "strategy", "preset", "extra"];
const NAMES = new Set([...OWN, ...ALL.map((field) => field.at)]);
const LISTS = new Set(ALL.filter((field: Field) => field.list).map((field) => field.at));
const TEXTS = new Set(["model", "dataset", "name", "revision", "validation.dataset", "hub_token.secret", "preset"]);
const BASIC = new Set(["name", "model", "dataset", "preset"]);
/** Of the other recipes, where nothing else is said. */
export const USUAL: Readonly<Record<string, string>> = {
  recipe: "neftune", alpha: "5", alphas: "0, 5, 10, 15", seeds: "42, 43, 44", strategy: "grid",
};

export function recipeOf(draft: Draft): Recipe {
  return RECIPES.find((one) => one === draft["recipe"]) ?? "neftune";
}

export function valueOf(draft: Draft, name: string): string {
  return draft[name] ?? USUAL[name] ?? "";
}

export function ofQuery(query: URLSearchParams): Draft {
  return Object.fromEntries([...query].filter(([name, value]) => NAMES.has(name) && value !== (USUAL[name] ?? "")));
}

export function toQuery(draft: Draft): string {
  return new URLSearchParams(Object.entries(draft).filter(([name, value]) => value !== (USUAL[name] ?? ""))).toString();
}

/** The job that the form asks for; of a series the part that is the same in all of its runs. */
export function jobOf(draft: Draft): Body {
  const recipe = recipeOf(draft);
  const body: Body = extraOf(draft);
  for (const name of ["name", "model", "dataset"]) put(body, name, draft[name]);
  if (recipe === "paper") put(body, "preset", draft["preset"] || "paper-alpaca");
  if (recipe === "series") put(body, "preset", draft["preset"]);
  for (const field of ALL) if (!(recipe === "series" && field.at === "training.seed")) put(body, field.at, draft[field.at]);
  if (recipe === "plain") body["alpha"] = 0;
  else if (recipe !== "series") body["alpha"] = parsed("alpha", valueOf(draft, "alpha"));
  return body;
}

export interface Request {
  to: "/jobs" | "/sweeps";
  body: Body;
  /** How many runs it makes. */
  runs: number;
}

/** What a press of the button sends. */
export function requestOf(draft: Draft): Request {
  const job = jobOf(draft);
  if (recipeOf(draft) !== "series") return { to: "/jobs", body: job, runs: 1 };
  const { alphas, seeds } = pointsOf(draft);
  const body = { job, alpha: alphas, seed: seeds, strategy: valueOf(draft, "strategy") };
  const numbers = (of: readonly Json[]): Json[] => of.filter((one) => typeof one === "number");
  return { to: "/sweeps", body, runs: new Set([0, ...numbers(alphas)]).size * new Set(numbers(seeds)).size };
}

export function pointsOf(draft: Draft): { alphas: readonly Json[]; seeds: readonly Json[] } {
  return { alphas: several(valueOf(draft, "alphas")), seeds: several(valueOf(draft, "seeds")) };
}

/** What is sent to be rehearsed, as soon as there is enough of it. */
export function rehearsedOf(draft: Draft): Request | undefined {
  return draft["model"] && draft["dataset"] ? requestOf(draft) : undefined;
}

/** The form that asks for what an earlier run was asked for, without what the service would fill in all the same. */
export function ofJob(job: Pick<JobDetail, "spec">, usual: Readonly<Record<string, unknown>> | undefined): Draft {
  const draft: Record<string, string> = {};
  const rest = structuredClone(job.spec) as Body;
  const filled = structuredClone(usual ?? {}) as Body;
  const { preset, method } = rest;
  for (const at of ["name", "model", "dataset", "preset", ...ALL.map((field) => field.at)]) {
    const value = taken(rest, at);
    const same = usual !== undefined && JSON.stringify(value) === JSON.stringify(taken(filled, at));
    if (value === undefined || (same && !BASIC.has(at))) continue;
    if (value !== null) draft[at] = said(value);
    else if (usual !== undefined && !BASIC.has(at) && at !== "training.epochs") draft[at] = "none"; // steps stand in place of epochs
  }
  if (method !== "lora" || preset) draft["method"] = String(method);
  const alpha = taken(rest, "alpha");
  draft["recipe"] = preset ? "paper" : alpha === 0 ? "plain" : "neftune";
  if (alpha !== undefined) draft["alpha"] = said(alpha);
  const left = beyond(rest, filled);
  if (Object.keys(left).length > 0) draft["extra"] = JSON.stringify(left);
  return draft;
}

/** What was copied and has no field in the form. */
export function extraOf(draft: Draft): Body {
  try {
    const value: unknown = JSON.parse(draft["extra"] ?? "{}");
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Body;
  } catch {
    // an address that somebody has written by hand
  }
  return {};
}

function put(body: Body, at: string, typed: string | undefined): void {
  if (typed === undefined || typed.trim() === "") return;
  const names = at.split(".");
  const last = names.pop() as string;
  let owner = body;
  for (const name of names) owner = (owner[name] ??= {}) as Body;
  owner[last] = parsed(at, typed.trim());
}

function parsed(at: string, typed: string): Json {
  if (TEXTS.has(at)) return typed;
  if (LISTS.has(at)) return typed === "all-linear" ? typed : several(typed).map(String);
  if (typed === "true" || typed === "false") return typed === "true";
  if (typed === "none") return null;
  return numberOf(typed);
}

/** A number as people write one, not as a program does; anything else is sent as it is, to be refused in its place. */
function numberOf(typed: string): Json {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(typed) ? Number(typed) : typed;
}

function several(typed: string): readonly Json[] {
  const parts = typed.split(",").map((part) => part.trim()).filter(Boolean);
  return parts.map(numberOf);
}

function said(value: Json): string {
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** Take a value out of a body; undefined where it has none, or where that is a thing with parts. */
function taken(body: Body, at: string): Json | undefined {
  const names = at.split(".");
  const last = names.pop() as string;
  let owner: Json = body;
  for (const name of names) {
    owner = (owner as Body)[name] ?? null;
    if (owner === null || typeof owner !== "object") return undefined;
  }
  const value = (owner as Body)[last];
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return undefined;
  delete (owner as Body)[last];
  return value;
}

/** What a body has and another doesn't; without what says nothing. */
function beyond(body: Body, other: Body): Body {
  const kept: Body = {};
  for (const [name, value] of Object.entries(body)) {
    const its = other[name];
    if (value === null || JSON.stringify(value) === JSON.stringify(its)) continue;
    if (typeof value === "object" && !Array.isArray(value)) {
      const inner = beyond(value as Body, (its ?? {}) as Body);
      if (Object.keys(inner).length > 0) kept[name] = inner;
    } else if (!(Array.isArray(value) && value.length === 0)) kept[name] = value;
  }
  return kept;
}
