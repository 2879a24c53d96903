import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Evaluation, JobDetail } from "../../api/types";
import { checkpointName } from "../../measures";
import { t } from "../../texts";
import { StatusBadge } from "../../ui/Badge";
import { Link } from "../../ui/Link";
import { Card } from "../../ui/Page";
import { Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip } from "../../ui/Text";
import { Download } from "./Download";
import { Evaluate } from "./Evaluate";
import type { PartProps } from "./index";
import { Results } from "./Results";

const words = t.run.evaluations;
const LOOK_S = 5;

/** What was measured of the run afterwards, and its report; of an evaluation, what it found. */
export function Evaluations({ job }: PartProps) {
  const report = job.artifacts?.find((one) => one.name === "report.html");
  return (
    <>
      <Card title={words.report}>
        {report ? <p class="actions"><Download job={job.id} artifact={report} /><span class="soft">{words.reportSays}</span></p> : <p class="faint">{words.noReport}</p>}
      </Card>
      {job.kind === "evaluate" && <Results id={job.id} status={job.status} />}
      {job.kind === "train" && <OfRun job={job} />}
    </>
  );
}

function OfRun({ job }: { job: JobDetail }) {
  const found = useLoad((signal) => api.get("/evaluations", { query: { job: job.id, limit: 50 }, signal }), [job.id], LOOK_S);
  const newest = found.value?.items.find((one) => one.status === "succeeded");
  return (
    <>
      <Card title={words.title} actions={job.status === "succeeded" && <Evaluate job={job} onMade={found.again} />}>
        <Shown of={found}>
          {({ items }) => items.length === 0 ? <p class="faint">{words.none}</p> : <Table label={words.title} columns={COLUMNS} rows={items} id={(one) => one.id} />}
        </Shown>
      </Card>
      {newest && <Results key={newest.id} id={newest.id} status={newest.status} title={words.newest(nameOf(newest))} />}
    </>
  );
}

const nameOf = (one: Evaluation): string => one.name || words.unnamed(one.id.slice(-6));

const COLUMNS: readonly Column<Evaluation>[] = [
  { head: words.name, cell: (one) => <Link to={`/runs/${one.id}?part=evaluations`}><Clip text={nameOf(one)} /></Link> },
  { head: words.kinds, cell: (one) => <Clip text={listed(one.spec["kinds"])} /> },
  { head: words.checkpoint, cell: (one) => checkpointName(one.spec["checkpoint"]) },
  { head: words.status, cell: (one) => <StatusBadge status={one.status} /> },
  { head: words.when, cell: (one) => <Ago time={one.finished_at ?? one.created_at} />, wide: true },
];

function listed(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") : t.none;
}
