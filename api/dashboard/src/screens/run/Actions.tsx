import { useState } from "preact/hooks";
import { api } from "../../api/client";
import type { Job, JobDetail } from "../../api/types";
import { go } from "../../router";
import { useShortcut } from "../../shell/shortcuts";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { confirm } from "../../ui/confirm";
import { Link } from "../../ui/Link";
import { toast, toastProblem } from "../../ui/toast";
import { Download } from "./Download";
import { movesOf, type Move } from "./moves";

const words = t.run.moves;
const LONGEST = 60; // characters of a name in a question
const RESULTS = ["adapter", "model"];

/** What can be done with the run now; each says what comes of it before it is done. */
export function Actions({ job, again }: { job: JobDetail; again: () => void }) {
  const [busy, setBusy] = useState(false);
  const moves = movesOf(job);
  const act = async (move: Exclude<Move, "clone">): Promise<void> => {
    if (!(await confirm({ ...asked(move, job), danger: move === "cancel" }))) return;
    setBusy(true);
    try {
      await carriedOut(move, job);
    } finally {
      setBusy(false);
      again();
    }
  };
  const press = (move: Exclude<Move, "clone">) => (): void => {
    if (moves.includes(move)) void act(move).catch(toastProblem);
  };
  useShortcut("p", words.pauseOrResume, moves.includes("pause") ? press("pause") : press("resume"));
  return (
    <>
      <Next job={job} />
      {moves.map((move) => move === "clone"
        ? <Link key={move} to={`/new?from=${job.id}`} class="button">{words.clone}</Link>
        : <Button key={move} busy={busy} kind={kindOf(move, job)} onClick={press(move)}>{words[move]}</Button>)}
    </>
  );
}

/** Where one goes from a run that has come to its end: away with what it made, to talk to it, to hold it against others. */
function Next({ job }: { job: JobDetail }) {
  if (job.kind !== "train" || job.status !== "succeeded") return null;
  const result = (job.artifacts ?? []).find((one) => RESULTS.includes(one.name));
  const model = encodeURIComponent(String(job.spec["model"] ?? ""));
  return (
    <>
      {result && <Download job={job.id} artifact={result} named={words.get[result.name] ?? words.getResult} />}
      <Link to={`/playground?models=${model},${job.id}`} class="button primary">{words.talk}</Link>
      <Link to={`/compare?runs=${job.id}`} class="button">{words.compare}</Link>
    </>
  );
}

/** What is most likely meant stands out: to try again only where that can help. */
function kindOf(move: Move, job: Job): "danger" | "primary" | "plain" {
  if (move === "cancel") return "danger";
  return move === "resume" || (move === "retry" && job.error?.retryable !== false) ? "primary" : "plain";
}

function asked(move: Exclude<Move, "clone">, job: Job): { title: string; consequence: string; action: string } {
  const name = shortened(job.name ?? job.id);
  const running = job.status === "running";
  const consequence = {
    pause: running ? words.pauseSays : words.pauseQueued,
    resume: words.resumeSays,
    cancel: job.attempt > 0 ? words.cancelSays : words.cancelQueued,
    retry: words.retrySays,
  }[move];
  return { title: words.ask(move === "cancel" ? words.cancelShort : words[move], name), consequence, action: words[move] };
}

function shortened(name: string): string {
  return name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name;
}

async function carriedOut(move: Exclude<Move, "clone">, job: Job): Promise<void> {
  const path = { job_id: job.id };
  if (move === "pause") await api.post("/jobs/{job_id}/pause", { path });
  if (move === "resume") await api.post("/jobs/{job_id}/resume", { path });
  if (move === "cancel") await api.post("/jobs/{job_id}/cancel", { path });
  if (move === "retry") go(`/runs/${(await api.post("/jobs/{job_id}/retry", { path })).id}`);
  toast(words.done[move]);
}
