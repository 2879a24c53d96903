import { useState } from "preact/hooks";
import type { Artifact } from "../../api/types";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { bytes, figure, whole } from "../../format";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Card } from "../../ui/Page";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip, Copy } from "../../ui/Text";
import { Download } from "./Download";
import type { PartProps } from "./index";

const words = t.run.files;
const CHECKPOINT = /^checkpoint-(\d+)\//;

/** What the run has made, with the hash of each; and the checkpoints that are kept. */
export function Files({ job }: PartProps) {
  const made = (job.artifacts ?? []).filter((one) => one.kind !== "checkpoint");
  const [all, setAll] = useState(false);
  const inside = made.filter((one) => one.name.includes("/"));
  const shown = all ? made : made.filter((one) => !one.name.includes("/"));
  return (
    <>
      <Card title={words.title} actions={inside.length > 0 && <Button kind="quiet" expanded={all} onClick={() => setAll(!all)}>{all ? words.fewer : words.inside(inside.length)}</Button>}>
        {made.length === 0 ? <p class="faint">{words.none}</p> : <Artifacts job={job.id} label={words.title} of={shown} />}
      </Card>
      {job.kind === "train" && <Checkpoints job={job} />}
    </>
  );
}

/** Files with what tells them; of those within a folder that is named above, neither its name nor their kind. */
function Artifacts({ job, label, of, within = "" }: { job: string; label: string; of: readonly Artifact[]; within?: string }) {
  const columns: Column<Artifact>[] = [
    { head: words.name, cell: (one) => <><Clip mono text={one.name.slice(within.length)} /> {one.partial && <Badge tone="warn" title={words.partialSays}>{words.partial}</Badge>}</> },
    ...(within ? [] : [{ head: words.kind, cell: (one: Artifact) => one.kind, wide: true }]),
    { head: words.size, number: true, cell: (one) => <span title={`${whole(one.bytes)} B`}>{bytes(one.bytes)}</span> },
    { head: "SHA-256", cell: (one) => <span class="run-hash"><Clip mono text={one.sha256} /><Copy text={one.sha256} /></span> },
    { head: words.when, cell: (one) => <Ago time={one.created_at} />, wide: true },
    { head: words.get, cell: (one) => <Download job={job} artifact={one} quiet /> },
  ];
  return <Table label={label} columns={columns} rows={of} id={(one) => one.name} />;
}

interface Checkpoint {
  step: number;
  files: Artifact[];
}

function Checkpoints({ job }: Pick<PartProps, "job">) {
  const [open, setOpen] = useState<Checkpoint>();
  const kept = checkpointsOf(job.artifacts ?? []);
  const key = kept.map((one) => one.step).join();
  const losses = useLoad((signal) => api.get("/jobs/{job_id}/metrics", { path: { job_id: job.id }, query: { keys: "eval_loss", max_points: 10_000 }, signal }), [job.id, key]);
  const held = new Map((losses.value?.series["eval_loss"] ?? []).map((pair) => [pair[0], pair[1]]));
  const columns: Column<Checkpoint>[] = [
    { head: t.chart.axis.step, number: true, cell: (one) => whole(one.step) },
    { head: t.run.head.heldOut, number: true, cell: (one) => figure(held.get(one.step)) },
    { head: words.size, number: true, cell: (one) => bytes(one.files.reduce((sum, file) => sum + file.bytes, 0)) },
    { head: words.when, cell: (one) => <Ago time={one.files[0]?.created_at} /> },
    { head: words.filesHead, cell: (one) => <Button kind="quiet" label={`${words.files(one.files.length)}: ${words.filesOf(one.step)}`} onClick={() => setOpen(one)}>{words.files(one.files.length)}</Button> },
  ];
  return (
    <Card title={words.checkpoints}>
      <p class="soft">{words.checkpointsSay}</p>
      {kept.length === 0 ? <p class="faint">{words.noCheckpoints}</p> : <Table label={words.checkpoints} columns={columns} rows={kept} id={(one) => String(one.step)} />}
      <Dialog as="drawer" open={open !== undefined} title={words.filesOf(open?.step ?? 0)} onClose={() => setOpen(undefined)}>
        {open && <Artifacts job={job.id} label={words.filesOf(open.step)} of={open.files} within={`checkpoint-${open.step}/`} />}
      </Dialog>
    </Card>
  );
}

/** The steps of the checkpoints that are kept, the furthest first. */
export function stepsOf(artifacts: readonly Artifact[]): number[] {
  return checkpointsOf(artifacts).map((one) => one.step);
}

function checkpointsOf(artifacts: readonly Artifact[]): Checkpoint[] {
  const kept = new Map<number, Artifact[]>();
  for (const one of artifacts) {
    const step = CHECKPOINT.exec(one.name)?.[1];
    if (step !== undefined) kept.set(Number(step), [...(kept.get(Number(step)) ?? []), one]);
  }
  return [...kept].map(([step, files]) => ({ step, files })).sort((a, b) => b.step - a.step);
}
