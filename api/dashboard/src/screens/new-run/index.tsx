import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { asProblem, type ApiError } from "../../api/problem";
import type { Dataset, JobDetail, JobSpec } from "../../api/types";
import { usePlace } from "../../router";
import { t } from "../../texts";
import { Link } from "../../ui/Link";
import { Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Entry } from "./Entry";
import { ofJob, ofQuery, type Draft } from "./draft";
import "./new-run.css";

const words = t.newRun;

/** What the form begins with. */
export interface Beginning {
  draft: Draft;
  models: readonly string[];
  datasets: readonly Dataset[];
  /** The run that was copied, or why it could not be. */
  copied?: string;
  problem?: ApiError;
}

/** What shall run: asked for in a form, reckoned while it is filled in, or copied as a request. */
export default function NewRun() {
  const { query } = usePlace();
  // The form writes the address; only another run to copy begins it anew.
  const beginning = useLoad((signal) => begin(ofQuery(query), signal), [query.get("from")]);
  return (
    <Page title={words.title}>
      <Shown of={beginning}>
        {(it) => it.datasets.length === 0
          ? <Empty title={words.emptyTitle} text={words.empty}><Link to="/datasets" class="button">{words.toDatasets}</Link></Empty>
          : <Entry beginning={it} />}
      </Shown>
    </Page>
  );
}

async function begin(asked: Draft, signal: AbortSignal): Promise<Beginning> {
  const [models, page] = await Promise.all([api.get("/models", { signal }), api.get("/datasets", { query: { limit: 200 }, signal })]);
  const shared = { models: models.items.map((one) => one.id), datasets: page.items };
  let draft = asked;
  let more: Pick<Beginning, "copied" | "problem"> = {};
  const { from, ...own } = asked;
  if (from && Object.keys(own).length === 0) { // else it was copied before, and changed since
    try {
      const job = await api.get("/jobs/{job_id}", { path: { job_id: from }, signal });
      draft = { from, ...ofJob(job, await usual(job, signal)) };
      more = { copied: job.name ?? job.id };
    } catch (thrown) {
      more = { problem: asProblem(thrown) };
    }
  }
  const [only] = shared.models;
  if (!draft["model"] && shared.models.length === 1 && only) draft = { ...draft, model: only };
  return { ...shared, datasets: await withChosen(shared.datasets, draft["dataset"], signal), draft, ...more };
}

/** What the service fills in for such a job by itself; unknown where it can't be asked, and then all is copied. */
async function usual(job: JobDetail, signal: AbortSignal): Promise<Record<string, unknown> | undefined> {
  const { model, dataset, preset, method } = job.spec as Record<string, unknown>;
  try {
    const body = { model, dataset, preset, method } as unknown as JobSpec;
    const told = await api.post("/jobs", { body, query: { dry_run: true, estimates: false }, signal });
    return "plan" in told ? told.spec : undefined;
  } catch {
    return undefined;
  }
}

/** The one that an address names may be older than those on the first page. */
async function withChosen(datasets: readonly Dataset[], id: string | undefined, signal: AbortSignal): Promise<readonly Dataset[]> {
  if (!id || datasets.some((one) => one.id === id)) return datasets;
  try {
    return [...datasets, await api.get("/datasets/{dataset_id}", { path: { dataset_id: id }, signal })];
  } catch {
    return datasets; // deleted meanwhile: the form says so beside its field
  }
}
