import { duration, figure } from "../../format";
import { t } from "../../texts";
import { Alpha, Badge, StatusBadge } from "../../ui/Badge";
import { Link } from "../../ui/Link";
import { Table, type Column } from "../../ui/Table";
import type { Result } from "./words";

const words = t.series;

const COLUMNS: readonly Column<Result>[] = [
  { head: words.alpha, cell: (one) => <Link to={`/runs/${one.job}`} class="series-alpha" title={one.job}><Alpha value={one.alpha} />{one.alpha === 0 && <Badge tone="busy">{words.control}</Badge>}</Link> },
  { head: words.seed, cell: (one) => one.seed, number: true },
  { head: words.state, cell: (one) => <State of={one} /> },
  { head: words.heldOutLast, cell: (one) => figure(one.eval_loss), number: true },
  { head: words.heldOutBest, cell: (one) => <>{figure(one.best_eval_loss)}{one.best_step !== null && <span class="faint"> {words.atStep(one.best_step)}</span>}</>, number: true },
  { head: words.trainLast, cell: (one) => figure(one.clean_train_loss), number: true },
  { head: words.trainBest, cell: (one) => figure(one.best_clean_train_loss), number: true },
  { head: words.base, cell: (one) => figure(one.base_eval_loss), number: true, wide: true },
  { head: words.costRuns, cell: (one) => figure(one.runs, 2), number: true },
  { head: words.time, cell: (one) => duration(one.seconds), number: true },
];

/** A line for each run; all losses are clean, noise and dropout off. */
export function Children({ results }: { results: readonly Result[] }) {
  const rows = [...results].sort((a, b) => a.alpha - b.alpha || a.seed - b.seed);
  return (
    <>
      <Table label={words.runs} columns={COLUMNS} rows={rows} id={(one) => one.job} />
      <p class="faint">{words.runsAbout}</p>
    </>
  );
}

function State({ of: one }: { of: Result }) {
  return one.cancel_reason === "halving" ? <Badge title={words.stoppedSays}>{words.stopped}</Badge> : <StatusBadge status={one.status} />;
}
