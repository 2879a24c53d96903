import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client";
import type { Job } from "../../api/types";
import { Sparkline } from "../../chart/Sparkline";
import { duration, figure, whole } from "../../format";
import { MOST_FOLLOWED } from "../../live/line";
import { useFollow } from "../../live/useFollow";
import { t } from "../../texts";
import { Progress } from "../../ui/Progress";
import { Grouped } from "./Grouped";
import { Named } from "./Named";

const words = t.runs;
const ENDED = new Set(["succeeded", "failed", "cancelled", "paused", "queued"]);

interface Live {
  step: number;
  losses: number[];
}

/** Runs under way, each with how far it is, what is left and its curve so far; followed as they go. */
export function Running({ jobs, ended }: { jobs: readonly Job[]; ended: () => void }) {
  const live = useLosses(jobs, ended);
  return <Grouped jobs={jobs} open row={(job) => <Row key={job.id} job={job} live={live.get(job.id)} />} />;
}

function Row({ job, live }: { job: Job; live: Live | undefined }) {
  const told = job.progress as { step?: number; total_steps?: number; eta_s?: number; part?: string } | null;
  const total = told?.total_steps ?? undefined;
  const step = Math.max(told?.step ?? 0, live?.step ?? 0);
  const loss = live?.losses.at(-1);
  return (
    <li class="runs-row runs-live">
      <Named job={job} />
      <span class="runs-progress">
        <Progress label={words.progressOf(job.name ?? job.id)} value={total ? step : undefined} of={total ?? 1} />
        <span class="soft">{total ? words.steps(whole(step), whole(total)) : words.beginning}{told?.part && ` · ${told.part}`}</span>
      </span>
      <span class="runs-eta">{told?.eta_s != null ? words.left(duration(told.eta_s)) : ""}</span>
      <span class="runs-spark">{job.kind === "train" && loss !== undefined && <><Sparkline label={words.loss} values={live?.losses ?? []} /> <b>{figure(loss)}</b></>}</span>
    </li>
  );
}

const KEPT = 80;

/** The noisy losses of those that are followed: read once, then heard. */
function useLosses(jobs: readonly Job[], ended: () => void): Map<string, Live> {
  const [live, setLive] = useState<Map<string, Live>>(new Map());
  const followed = jobs.slice(0, MOST_FOLLOWED);
  const key = followed.map((job) => job.id).join();
  useFollow(followed, (told) => {
    if (told.some((one) => one.kind === "status" && ENDED.has(one.status))) ended();
    setLive((before) => {
      const after = new Map(before);
      for (const one of told) {
        if (one.kind !== "metric") continue;
        const known = after.get(one.job) ?? { step: 0, losses: [] };
        const loss = one.values["train_loss"];
        const losses = loss === undefined || loss === null ? known.losses : [...known.losses, loss].slice(-2 * KEPT);
        after.set(one.job, { step: one.step, losses });
      }
      return after;
    });
  });
  useEffect(() => {
    const given = new AbortController();
    for (const job of followed) {
      const asked = { path: { job_id: job.id }, query: { keys: "train_loss", max_points: KEPT }, signal: given.signal };
      void api.get("/jobs/{job_id}/metrics", asked).then(({ series }) => {
        const losses = (series["train_loss"] ?? []).map((pair) => pair[1] ?? 0);
        setLive((before) => new Map(before).set(job.id, { step: before.get(job.id)?.step ?? 0, losses }));
      }).catch(() => undefined); // a row without its picture is still a row
    }
    return () => given.abort();
  }, [key]);
  return live;
}
