import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Job } from "../../api/types";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Link } from "../../ui/Link";

interface Props {
  jobs: readonly Job[];
  row: (job: Job) => ComponentChildren;
  /** Whether the runs of a series are in sight from the beginning. */
  open?: boolean;
}

const PART = 25; // rows the browser draws or leaves out together: it would watch each of a thousand in every frame

/** Rows of runs; those of one series stand together, where its first one is. */
export function Grouped({ jobs, row, open = false }: Props) {
  const rows = gathered(jobs).flatMap((group) => group.sweep === undefined
    ? group.jobs.map(row)
    : [<Series key={group.sweep} sweep={group.sweep} jobs={group.jobs} row={row} open={open} />]);
  return <>{partsOf(rows).map((part, place) => <ul key={place} class={part.length < PART ? "runs-list" : "runs-list runs-part"}>{part}</ul>)}</>;
}

function partsOf<T>(rows: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(rows.length / PART) }, (_, place) => rows.slice(place * PART, (place + 1) * PART));
}

function Series({ sweep, jobs, row, open }: { sweep: string; jobs: readonly Job[]; row: Props["row"]; open: boolean }) {
  const [shown, setShown] = useState(open);
  const alphas = [...new Set(jobs.map((job) => Number(job.spec["alpha"] ?? 0)))].sort((a, b) => a - b);
  return (
    <li class="runs-series">
      <div class="runs-series-head">
        <Button kind="quiet" expanded={shown} label={t.runs.series.show(jobs[0]?.name ?? sweep)} onClick={() => setShown(!shown)}>{shown ? "▾" : "▸"}</Button>
        <Link to={`/series/${sweep}`}>{t.runs.series.title(jobs[0]?.name ?? sweep)}</Link>
        <span class="soft">{t.runs.series.says(jobs.length, alphas.join(", "))}</span>
      </div>
      {shown && <ul class="runs-list">{jobs.map(row)}</ul>}
    </li>
  );
}

interface Group {
  sweep: string | undefined;
  jobs: Job[];
}

function gathered(jobs: readonly Job[]): Group[] {
  const groups: Group[] = [];
  const series = new Map<string, Group>();
  for (const job of jobs) {
    const known = job.sweep ? series.get(job.sweep) : groups.at(-1);
    if (known && (job.sweep || known.sweep === undefined)) {
      known.jobs.push(job);
      continue;
    }
    const group: Group = { sweep: job.sweep ?? undefined, jobs: [job] };
    groups.push(group);
    if (job.sweep) series.set(job.sweep, group);
  }
  return groups;
}
