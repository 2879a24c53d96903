// Who can be asked: the bases, what runs have made of them, and the checkpoints that were kept.
import { api } from "../../api/client";
import { useLoad, type Loaded } from "../../api/load";
import type { Job } from "../../api/types";
import { alphaOf, runById, runChoice, runName, seedOf } from "../../naming";
import { t } from "../../texts";
import type { Choice } from "../../ui/Picker";

export interface Askable {
  bases: readonly string[];
  jobs: readonly Job[];
  choices: readonly Choice[];
}

const MOST = 200;

export function useAskable(): Loaded<Askable> {
  return useLoad<Askable>(async (signal) => {
    const [models, jobs] = await Promise.all([
      api.get("/models", { signal }),
      api.get("/jobs", { query: { kind: "train", status: "succeeded", limit: MOST }, signal }),
    ]);
    const bases = models.items.map((one) => one.id);
    const choices = [...bases.map((id) => ({ value: id, label: id, note: t.playground.base })), ...jobs.items.map(runChoice)];
    return { bases, jobs: jobs.items, choices };
  }, []);
}

/** Base, control and the newest run with noise, as far as there are such. */
export function usual({ bases, jobs }: Askable): string[] {
  const tuned = jobs.find((job) => alphaOf(job) > 0) ?? jobs[0];
  if (!tuned) return bases.slice(0, 1);
  const base = bases.find((id) => id === tuned.spec["model"]);
  const control = tuned.sweep && alphaOf(tuned) > 0
    ? jobs.find((job) => job.sweep === tuned.sweep && alphaOf(job) === 0 && seedOf(job) === seedOf(tuned)) : undefined;
  return [base, control?.id, tuned.id].filter((one) => one !== undefined);
}

/** `job_…:ckpt-step-8` in its two parts. */
export function takenApart(model: string): { id: string; step: string } {
  const found = /^(job_[0-9a-z]{26}):ckpt-step-([0-9]+)$/.exec(model);
  return { id: found?.[1] ?? model, step: found?.[2] ?? "" };
}

export function named(model: string, { jobs }: Pick<Askable, "jobs">): string {
  const { id, step } = takenApart(model);
  const job = jobs.find((one) => one.id === id);
  return [job ? runName(job) : id, ...(step ? [t.playground.atStep(step)] : [])].join(" · ");
}

/** What else can be pasted: the id of a run, a checkpoint, or the name that OpenAI's clients use. */
export function byName(typed: string): Choice | undefined {
  if (takenApart(typed).step || /^ft:\S+$/.test(typed)) return { value: typed, label: typed };
  return runById(typed);
}

/** The steps of the checkpoints that a run has kept, the furthest first. */
export function useCheckpoints(job: string): number[] {
  const isJob = job.startsWith("job_");
  const kept = useLoad(async (signal) => isJob ? (await api.get("/jobs/{job_id}/artifacts", { path: { job_id: job }, signal })).items : [], [job]);
  const steps = (kept.value ?? []).map((one) => /^checkpoint-([0-9]+)\/weights\.safetensors$/.exec(one.name)?.[1]);
  return steps.filter((step) => step !== undefined).map(Number).sort((a, b) => b - a);
}
