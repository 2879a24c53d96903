import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Job } from "../../api/types";
import { duration, figure } from "../../format";
import { t } from "../../texts";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Ago, Clip } from "../../ui/Text";
import { toastProblem } from "../../ui/toast";
import { Grouped } from "./Grouped";
import { Named } from "./Named";

const words = t.runs;

interface Page {
  items: Job[];
  next: string | null;
}

interface Props {
  jobs: readonly Job[];
  next?: string | null;
  more?: (cursor: string) => Promise<Page>;
}

/** Runs that do not move, newest first; the pages after the first are read when their place comes into sight. */
export function Listed({ jobs, next = null, more }: Props) {
  const [rest, setRest] = useState<Page>({ items: [], next });
  const [busy, setBusy] = useState(false);
  const before = useRef(jobs);
  useEffect(() => {
    const slid = before.current;
    before.current = jobs;
    setRest((old) => (old.items.length === 0 || next === null ? { items: [], next } : { ...old, items: [...pushedOut(slid, jobs), ...old.items] }));
  }, [jobs, next]);
  const end = useRef<HTMLDivElement>(null);
  const read = async (): Promise<void> => {
    if (!more || rest.next === null || busy) return;
    setBusy(true);
    try {
      const page = await more(rest.next);
      setRest((before) => ({ items: [...before.items, ...page.items], next: page.next }));
    } catch (thrown) {
      toastProblem(thrown);
    } finally {
      setBusy(false);
    }
  };
  const reading = useRef(read);
  reading.current = read;
  useEffect(() => {
    if (!end.current) return undefined;
    const seen = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && void reading.current(), { rootMargin: "1500px" });
    seen.observe(end.current);
    return () => seen.disconnect();
  }, [rest.next]);
  const list = useMemo(() => <Grouped jobs={[...jobs, ...rest.items]} row={rowOf} />, [jobs, rest.items]);
  return (
    <>
      {list}
      {more && rest.next !== null && <div ref={end} class="runs-more"><Button busy={busy} onClick={() => void read()}>{t.more}</Button></div>}
    </>
  );
}

/** What was on the first page and is now on the second, for newer ones have come: nobody who has read on loses it. */
function pushedOut(before: readonly Job[], now: readonly Job[]): Job[] {
  const last = now.at(-1);
  const place = (job: Job): string => `${job.created_at} ${job.id}`;
  return last ? before.filter((job) => place(job) < place(last)) : [];
}

const rows = new WeakMap<Job, VNode>();

/** The row of a job, made once: a list of a thousand that grows by a page, or is asked for again, draws only what is new. */
function rowOf(job: Job): VNode {
  const row = rows.get(job) ?? <Row key={job.id} job={job} />;
  rows.set(job, row);
  return row;
}

function Row({ job }: { job: Job }) {
  const held = job.metrics["eval_loss"];
  const took = job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : undefined;
  return (
    <li class="runs-row">
      <Named job={job} />
      <span><StatusBadge status={job.status} />{job.error && <span class="runs-why"><Clip text={job.error.detail} /></span>}{job.cancel_reason && <span class="runs-why">{job.cancel_reason}</span>}</span>
      <span class="runs-number">{job.kind === "train" && typeof held === "number" && <><span class="faint">{words.heldOut}</span> {figure(held)}</>}</span>
      <span class="runs-number soft" title={t.run.head.took}>{duration(took)}</span>
      <span class="runs-age faint"><Ago time={job.finished_at ?? job.created_at} /></span>
    </li>
  );
}
