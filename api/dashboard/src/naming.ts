// What a run is called where several stand together. Knows jobs as the service shows them.
import type { Job } from "./api/types";
import type { Choice } from "./ui/Picker";
import { t } from "./texts";

type Named = Pick<Job, "id" | "name" | "spec">;

export function alphaOf(job: Pick<Job, "spec">): number {
  return Number(job.spec["alpha"] ?? 0);
}

export function seedOf(job: Pick<Job, "spec">): number | undefined {
  const training = job.spec["training"] as { seed?: number } | undefined;
  return training?.seed;
}

/** Its name, else the end of its id, by which ids differ. */
export function shortName(job: Pick<Job, "id" | "name">): string {
  return job.name || t.runNamed(job.id.slice(-6));
}

/** Alpha and seed: what tells the runs of a series apart. */
export function aboutRun(job: Named): string {
  const seed = seedOf(job);
  return [`α ${alphaOf(job)}`, ...(seed === undefined ? [] : [t.seedNamed(seed)])].join(" · ");
}

/** Its name with that: what it is called among others. */
export function runName(job: Named): string {
  return `${shortName(job)} · ${aboutRun(job)}`;
}

export function runChoice(job: Job): Choice {
  const note = [t.status[job.status] ?? job.status, String(job.spec["model"] ?? ""), ...job.tags, job.id].join(" · ");
  return { value: job.id, label: runName(job), note };
}

/** A whole id that was typed or pasted stands for its run, also for one that the list doesn't reach. */
export function runById(typed: string): Choice | undefined {
  return /^job_[0-9a-z]{26}$/.test(typed) ? { value: typed, label: typed } : undefined;
}
