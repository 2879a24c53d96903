import { duration, figure, whole } from "../../format";
import { alphaOf, seedOf } from "../../naming";
import { t } from "../../texts";
import { StatusBadge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { Table, type Column } from "../../ui/Table";
import type { ComponentChildren } from "preact";
import type { Found } from "./runs";

const words = t.compare;

interface Row {
  id: string;
  head: string;
  /** The number that is compared; the lowest of a row is marked. */
  value?: (run: Found) => number | undefined;
  show: (run: Found) => ComponentChildren;
}

const final = (run: Found, name: string): number | undefined => run.final?.[name] ?? undefined;
const latest = (run: Found, name: string): number | undefined => {
  const value: unknown = run.job.metrics[name];
  return typeof value === "number" ? value : undefined;
};

function seconds({ job }: Found): number | undefined {
  if (!job.started_at) return undefined;
  return ((job.finished_at ? Date.parse(job.finished_at) : Date.now()) - Date.parse(job.started_at)) / 1000;
}

const held = (run: Found): number | undefined => final(run, "eval_loss") ?? latest(run, "eval_loss");
const clean = (run: Found): number | undefined => final(run, "last_clean_train_loss") ?? latest(run, "clean_train_loss");

function gap(run: Found): number | undefined {
  const [eval_loss, train] = [held(run), clean(run)];
  return eval_loss === undefined || train === undefined ? undefined : eval_loss - train;
}

function loss(id: string, head: string, value: (run: Found) => number | undefined, more?: (run: Found) => string): Row {
  return { id, head, value, show: (run) => <>{figure(value(run))}{more?.(run)}</> };
}

function atStep(run: Found): string {
  const step = final(run, "best_step");
  return step === undefined ? "" : ` (${words.atStep(step)})`;
}

const ROWS: readonly Row[] = [
  { id: "status", head: words.status, show: (run) => <StatusBadge status={run.job.status} /> },
  { id: "alpha", head: words.alpha, show: (run) => alphaOf(run.job) },
  { id: "seed", head: words.seed, show: (run) => seedOf(run.job) ?? t.none },
  loss("last", words.heldOutLast, held),
  loss("best", words.heldOutBest, (run) => final(run, "best_eval_loss"), atStep),
  { id: "base", head: words.heldOutBase, show: (run) => figure(final(run, "base_eval_loss") ?? latest(run, "base_eval_loss")) },
  { id: "clean", head: words.cleanTrain, show: (run) => figure(clean(run)) },
  { id: "gap", head: words.gap, show: (run) => figure(gap(run)) },
  { id: "speed", head: words.speed, show: (run) => figure(latest(run, "tokens_per_s"), 3) },
  { id: "tokens", head: words.tokens, show: (run) => whole(latest(run, "tokens")) },
  { id: "steps", head: words.steps, show: (run) => whole(run.job.progress?.["step"] as number | undefined) },
  { id: "cost", head: words.cost, show: (run) => duration(seconds(run)) },
];

/** What each run has come to. Losses are clean: noise and dropout off. */
export function Figures({ runs }: { runs: readonly Found[] }) {
  const columns: Column<Row>[] = [
    { head: words.figure, cell: (row) => row.head },
    ...runs.map((run) => ({ head: run.letter, number: true, cell: (row: Row) => <Cell row={row} run={run} runs={runs} /> })),
  ];
  return (
    <Card class="compare-table across" title={words.figures}>
      <p class="soft">{words.figuresAbout}</p>
      {apart(runs) && <p class="notice warn">{words.otherRows}</p>}
      <Table label={words.figures} columns={columns} rows={ROWS} id={(row) => row.id} />
    </Card>
  );
}

/** Whether held-out losses are of other rows: then which is lower says little. */
function apart(runs: readonly Found[]): boolean {
  return new Set(runs.map(({ job }) => JSON.stringify([job.spec["dataset"], job.spec["validation"]]))).size > 1;
}

function Cell({ row, run, runs }: { row: Row; run: Found; runs: readonly Found[] }) {
  const mine = row.value?.(run);
  const values = runs.map((one) => row.value?.(one)).filter((value) => value !== undefined);
  const lowest = mine !== undefined && values.length > 1 && mine === Math.min(...values) && mine !== Math.max(...values);
  return lowest ? <strong class="compare-lowest" title={words.lowest}>{row.show(run)}<span class="sr-only"> {words.lowest}</span></strong> : <>{row.show(run)}</>;
}
