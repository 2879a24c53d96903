// What runs have answered in their evaluations, prompt by prompt: those prompts that all of them were asked.
import { answersOf, type Answers } from "../../answers";
import { api } from "../../api/client";
import type { Found } from "./runs";

export interface Sample {
  prompt: string;
  /** By the run's letter, and the base's under its own name. */
  said: ReadonlyMap<string, string>;
}

export interface Samples {
  samples: readonly Sample[];
  /** Letters of runs of which no answers were evaluated. */
  without: readonly string[];
}

export const BASE = "base";
const MOST_PROMPTS = 8;

export async function samplesOf(runs: readonly Found[], signal: AbortSignal): Promise<Samples> {
  const told = await Promise.all(runs.map((run) => evaluated(run.id, signal)));
  const columns: [string, Answers][] = [];
  const base = told.find((one) => one?.base)?.base;
  if (base) columns.push([BASE, base]);
  for (const [place, run] of runs.entries()) {
    const answers = told[place]?.own;
    if (answers) columns.push([run.letter, answers]);
  }
  const without = runs.filter((_, place) => !told[place]?.own).map((run) => run.letter);
  const shared = [...(columns.at(-1)?.[1].keys() ?? [])].filter((prompt) => columns.every(([, answers]) => answers.has(prompt)));
  const samples = shared.slice(0, MOST_PROMPTS).map((prompt) => ({ prompt, said: new Map(columns.map(([name, answers]) => [name, answers.get(prompt)?.output ?? ""])) }));
  return { samples, without };
}

/** The plain answers of its newest evaluation that has some; prompts of their own before training prompts. */
async function evaluated(job: string, signal: AbortSignal): Promise<{ own?: Answers; base?: Answers } | undefined> {
  const { items } = await api.get("/evaluations", { query: { job, status: "succeeded", limit: 10 }, signal });
  for (const { id } of items) {
    const one = await api.get("/evaluations/{evaluation_id}", { path: { evaluation_id: id }, signal });
    const own = await answersOf(one, "checkpoint", signal);
    const base = await answersOf(one, BASE, signal);
    if (own) return { own, ...(base ? { base } : {}) };
  }
  return undefined;
}
