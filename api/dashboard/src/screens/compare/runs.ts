// The runs that are compared, each loaded for itself: one that is gone takes none of the others along.
import { api } from "../../api/client";
import { useLoad, type Loaded } from "../../api/load";
import { asProblem, type ApiError } from "../../api/problem";
import type { JobDetail } from "../../api/types";

export const FEWEST = 2;
export const MOST = 6;

export interface Compared {
  id: string;
  /** How it is called here, in tables and curves: A to F. */
  letter: string;
  job?: JobDetail;
  /** What the record tells of its end; null while it has none. */
  final: Readonly<Record<string, number | null>> | null;
  problem?: ApiError;
}

/** A run that could be loaded. */
export type Found = Compared & { job: JobDetail };

const LOOK_S = 5;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export const letterOf = (place: number): string => String.fromCharCode(65 + place);
export const hasEnded = (job: JobDetail): boolean => ENDED.has(job.status);

/** Load the runs, and again every few seconds while one of them has not ended. */
export function useRuns(ids: readonly string[]): Loaded<Compared[]> {
  const load = (signal: AbortSignal): Promise<Compared[]> => Promise.all(ids.map((id, place) => one(id, letterOf(place), signal)));
  return useLoad(load, [ids.join()], (found) => (found.some((run) => run.job && !hasEnded(run.job)) ? LOOK_S : undefined));
}

async function one(id: string, letter: string, signal: AbortSignal): Promise<Compared> {
  const path = { job_id: id };
  try {
    const job = await api.get("/jobs/{job_id}", { path, signal });
    return { id, letter, job, final: (job.artifacts ?? []).some((each) => each.name === "record") ? await finalOf(path, signal) : null };
  } catch (thrown) {
    signal.throwIfAborted();
    const problem = asProblem(thrown);
    if (problem.away) throw problem; // says nothing of this run: what is known of all of them stays
    return { id, letter, final: null, problem };
  }
}

/** A record may go between two questions. */
async function finalOf(path: { job_id: string }, signal: AbortSignal): Promise<Compared["final"]> {
  try {
    const record = (await api.get("/jobs/{job_id}/record", { path, signal })) as { final?: Compared["final"] };
    return record.final ?? null;
  } catch (thrown) {
    signal.throwIfAborted();
    if (asProblem(thrown).status === 404 || asProblem(thrown).status === 409) return null;
    throw thrown;
  }
}
