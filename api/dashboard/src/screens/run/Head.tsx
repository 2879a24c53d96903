import type { ComponentChildren } from "preact";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { JobDetail } from "../../api/types";
import { duration, figure, whole } from "../../format";
import { t } from "../../texts";
import { Alpha, Badge, StatusBadge } from "../../ui/Badge";
import { Link } from "../../ui/Link";
import { Progress } from "../../ui/Progress";
import { Ago, Clip, Copy } from "../../ui/Text";
import { over } from "./moves";

const words = t.run.head;

/** Where the run stands: status, what it is about, how far it is, and its figures of now. */
export function Head({ job, latest }: { job: JobDetail; latest: Readonly<Record<string, number>> }) {
  const { spec } = job;
  const waits = job.intent === "run" ? null : job.status === "running" ? words.intent[job.intent] : null;
  return (
    <section class="run-head" aria-label={words.label}>
      <div class="run-line">
        <StatusBadge status={job.status} />
        {waits && <Badge tone="warn">{waits}</Badge>}
        {job.kind === "train" ? typeof spec["alpha"] === "number" && <Alpha value={spec["alpha"]} /> : <Badge>{t.runs.kind[job.kind as "export"] ?? job.kind}</Badge>}
        {job.attempt > 1 && <Badge>{words.attempt(job.attempt)}</Badge>}
        {job.tags.map((tag) => <Badge key={tag}><Clip text={tag} /></Badge>)}
        <span class="run-id"><Clip mono text={job.id} /><Copy text={job.id} /></span>
      </div>
      <div class="run-line soft">
        <Named label={words.model} value={spec["model"]} />
        <Dataset id={spec["dataset"]} />
        <Named label={words.method} value={spec["method"]} />
        <Named label={words.series} value={job.sweep} to="/series/" name={job.name} />
        <Named label={words.retryOf} value={job.retry_of} to="/runs/" />
        <Named label={words.cloneOf} value={job.clone_of} to="/runs/" />
        <Named label={words.ofJob} value={job.of_job} to="/runs/" />
        <span>{words.made} <Ago time={job.created_at} /></span>
      </div>
      {job.queue && <p class="notice">{job.queue.position !== null && <b>{words.place(job.queue.position)} </b>}{job.queue.reason}</p>}
      {job.error && <p class="notice bad" role="alert"><code>{job.error.code}</code> {job.error.detail} {job.error.retryable && words.retryable}</p>}
      {job.cancel_reason && <p class="notice">{words.cancelledBy(job.cancel_reason)}</p>}
      {!over(job) && job.status !== "queued" && <Far job={job} step={latest["step"] ?? 0} />}
      {job.kind === "train" && job.started_at && <Figures job={job} latest={latest} />}
    </section>
  );
}

function Named({ label, value, to, name }: { label: string; value: unknown; to?: string; name?: string | null | undefined }) {
  if (typeof value !== "string") return null;
  return <span class="run-named">{label} {to ? <Link to={to + encodeURIComponent(value)}><Clip text={name || value} /></Link> : <Clip text={value} />}</span>;
}

/** By its name, which says more than its id; by that while the name is not known, or where the dataset is gone. */
function Dataset({ id }: { id: unknown }) {
  const known = typeof id === "string" ? id : undefined;
  const found = useLoad(async (signal) => known === undefined ? undefined : api.get("/datasets/{dataset_id}", { path: { dataset_id: known }, signal }), [known]);
  return <Named label={words.dataset} value={known} to="/datasets/" name={found.value?.name} />;
}

function Far({ job, step }: { job: JobDetail; step: number }) {
  const told = job.progress as { step?: number; total_steps?: number | null; eta_s?: number | null } | null;
  const total = told?.total_steps ?? undefined;
  const at = Math.max(step, told?.step ?? 0);
  return (
    <div class="run-far">
      <Progress label={words.progress} value={total ? at : undefined} of={total ?? 1} />
      <span>{total ? t.runs.steps(whole(at), whole(total)) : t.runs.beginning}{told?.eta_s != null && ` · ${t.runs.left(duration(told.eta_s))}`}</span>
    </div>
  );
}

function Figures({ job, latest }: { job: JobDetail; latest: Readonly<Record<string, number>> }) {
  const took = job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : undefined;
  return (
    <dl class="run-figures">
      <Figure label={words.noisy}>{figure(latest["train_loss"])}</Figure>
      <Figure label={words.clean}>{figure(latest["clean_train_loss"])}</Figure>
      <Figure label={words.heldOut}>{figure(latest["eval_loss"])}</Figure>
      <Figure label={words.base}>{figure(latest["base_eval_loss"])}</Figure>
      <Figure label={words.alpha}>{figure(latest["noise_effective_alpha"])}</Figure>
      <Figure label={words.speed}>{figure(latest["tokens_per_s"], 3)}</Figure>
      {took !== undefined && <Figure label={words.took}>{duration(took)}</Figure>}
    </dl>
  );
}

function Figure({ label, children }: { label: string; children: ComponentChildren }) {
  return <div><dt>{label}</dt><dd>{children}</dd></div>;
}
