import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { JobDetail } from "../../api/types";
import { useFollow } from "../../live/useFollow";
import { usePlace, useQuery } from "../../router";
import type { ScreenProps } from "../../screens";
import { t } from "../../texts";
import { Link } from "../../ui/Link";
import { Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Actions } from "./Actions";
import { Config } from "./Config";
import { Curves } from "./Curves";
import { Evaluations } from "./Evaluations";
import { Files } from "./Files";
import { Head } from "./Head";
import { Log } from "./Log";
import { over } from "./moves";
import "./run.css";
import { Story } from "./Story";

const PARTS = { curves: Curves, story: Story, files: Files, evaluations: Evaluations, log: Log, config: Config } as const;
type Part = keyof typeof PARTS;

/** What every part of the screen is given. */
export interface PartProps {
  job: JobDetail;
  /** The newest number of each metric, as it was heard. */
  latest: Readonly<Record<string, number>>;
  /** Counts the facts that were heard, so that a part knows when to look for more. */
  facts: number;
}

/** One run: how it goes, its curves, its story and what came of it. */
export default function Run({ params }: ScreenProps) {
  const id = params["job"] ?? "";
  const job = useLoad((signal) => api.get("/jobs/{job_id}", { path: { job_id: id }, signal }), [id]);
  const title = job.value ? nameOf(job.value) : t.run.title;
  return (
    <Page title={title} actions={job.value && <Actions job={job.value} again={job.again} />}>
      {job.problem?.status === 404
        ? <Empty title={t.run.goneTitle} text={t.gone}><Link class="button" to="/runs">{t.run.all}</Link></Empty>
        : <Shown of={job}>{(one) => <Followed key={one.id} job={one} again={job.again} />}</Shown>}
    </Page>
  );
}

const SOON_MS = 400; // several facts come at once: they are looked up together
const NOW_AND_THEN_MS = 10_000; // places in the queue and the time left are told by nobody

function Followed({ job, again }: { job: JobDetail; again: () => void }) {
  const [heard, setHeard] = useState<{ latest: Record<string, number>; facts: number }>({ latest: {}, facts: 0 });
  const soon = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const ended = over(job);
  useFollow(ended ? [] : [job], (told) => {
    const facts = told.filter((one) => one.kind !== "metric").length;
    setHeard((before) => ({
      latest: told.reduce((sum, one) => (one.kind === "metric" ? { ...sum, ...known(one.values), step: one.step } : sum), before.latest),
      facts: before.facts + facts,
    }));
    if (facts === 0) return;
    clearTimeout(soon.current);
    soon.current = setTimeout(again, SOON_MS);
  });
  useEffect(() => {
    if (ended) return undefined;
    const timer = setInterval(() => document.hidden || again(), NOW_AND_THEN_MS);
    return () => clearInterval(timer);
  }, [ended, again]);
  useEffect(() => () => clearTimeout(soon.current), []);
  const parts = partsOf(job);
  const [asked] = useQuery("part", parts[0]);
  const { query } = usePlace();
  const part = parts.find((one) => one === asked) ?? parts[0] ?? "story";
  const Part = PARTS[part];
  const latest = { ...numbers(job.metrics), ...heard.latest };
  return (
    <>
      <Head job={job} latest={latest} />
      <nav class="run-parts" aria-label={t.run.parts}>
        {parts.map((one) => (
          <Link key={one} to={partOf(job.id, one, query)} {...(one === part ? { "aria-current": "page" as const } : {})}>{t.run.part[one]}</Link>
        ))}
      </nav>
      <Part job={job} latest={latest} facts={heard.facts} />
    </>
  );
}

/** What has something to show; of what trains nothing, what it has found or made comes first. */
function partsOf({ kind }: JobDetail): Part[] {
  const all = Object.keys(PARTS) as Part[];
  const first: Part = kind === "train" ? "curves" : kind === "evaluate" ? "evaluations" : "files";
  return [first, ...all.filter((one) => one !== first && one !== "curves" && (kind !== "export" || one !== "evaluations"))];
}

/** An evaluation has a name of its own beside that of its run. */
function nameOf({ name, id, options }: JobDetail): string {
  const own = options?.["name"];
  return typeof own === "string" && own ? own : name ?? id;
}

/** The same look at another part: what was chosen for the curves is still chosen when one comes back. */
function partOf(job: string, part: Part, query: URLSearchParams): string {
  const next = new URLSearchParams(query);
  next.set("part", part);
  return `/runs/${job}?${next.toString()}`;
}

function known(values: Record<string, number | null>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter((one): one is [string, number] => one[1] !== null));
}

function numbers(metrics: Record<string, unknown>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).filter((one): one is [string, number] => typeof one[1] === "number"));
}
