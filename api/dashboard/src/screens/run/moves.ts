// What can be done with a run where it stands.
import type { Job } from "../../api/types";

export type Move = "pause" | "resume" | "cancel" | "retry" | "clone";

export function over(job: Pick<Job, "status">): boolean {
  return job.status === "succeeded" || job.status === "failed" || job.status === "cancelled";
}

export function movesOf(job: Job): Move[] {
  const moves: Move[] = [];
  if (!over(job)) {
    if (job.intent === "run") moves.push("pause");
    if (job.intent === "pause") moves.push("resume");
    if (job.intent !== "cancel") moves.push("cancel");
  }
  if (job.status === "failed" || job.status === "cancelled") moves.push("retry");
  if (job.kind === "train") moves.push("clone");
  return moves;
}
