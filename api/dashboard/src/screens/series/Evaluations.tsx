import type { Figure } from "../../api/types";
import { figure } from "../../format";
import { checkpointName, measureName } from "../../measures";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import { Table, type Column } from "../../ui/Table";
import { mean, signed, type Result } from "./words";

const words = t.series.evaluations;
type Evaluated = Result["evaluations"][number];

interface Row {
  id: string;
  name: string;
  checkpoint: string;
  /** What was found of each run, and of the base beside it. */
  found: readonly { of: Result; figure: Figure }[];
}

/** What evaluations measured, alpha by alpha: means over seeds, and how far they are from the control's. */
export function Evaluations({ results }: { results: readonly Result[] }) {
  const rows = rowsOf(results);
  if (rows.length === 0) return null;
  const alphas = [...new Set(rows.flatMap((row) => row.found.map((one) => one.of.alpha)))].sort((a, b) => a - b);
  const columns: Column<Row>[] = [
    { head: words.measured, cell: (row) => row.name },
    { head: words.checkpoint, cell: (row) => row.checkpoint, wide: true },
    { head: t.measures.checkpoint["base"] ?? "", number: true, cell: (row) => figure(mean(row.found.flatMap((one) => one.figure.base ?? []))) },
    ...alphas.map((alpha) => ({ head: alpha === 0 ? `α 0, ${t.series.control}` : `α ${alpha}`, number: true, cell: (row: Row) => <Found row={row} alpha={alpha} /> })),
  ];
  return (
    <Card class="across" title={words.title}>
      <Table label={words.title} columns={columns} rows={rows} id={(row) => row.id} />
      <p class="faint">{words.about}</p>
    </Card>
  );
}

function Found({ row, alpha }: { row: Row; alpha: number }) {
  const mine = row.found.filter((one) => one.of.alpha === alpha);
  const apart = mine.flatMap((one) => {
    const control = alpha !== 0 && row.found.find((other) => other.of.alpha === 0 && other.of.seed === one.of.seed);
    return control ? [one.figure.value - control.figure.value] : [];
  });
  if (mine.length === 0) return <>{t.none}</>;
  const title = t.series.seedsNamed(mine.length);
  return <span title={title}>{figure(mean(mine.map((one) => one.figure.value)))}{apart.length > 0 && <span class="faint"> ({signed(mean(apart))})</span>}</span>;
}

/** A line for each measure of each checkpoint; of a run the newest evaluation that has it. */
function rowsOf(results: readonly Result[]): Row[] {
  const rows = new Map<string, Row & { found: { of: Result; figure: Figure }[] }>();
  for (const of of results) {
    for (const { evaluation, figure: one } of figuresOf(of)) {
      const checkpoint = checkpointName(evaluation.checkpoint?.of ?? "last");
      const id = `${checkpoint} ${one.measure} ${one.of}`;
      const row = rows.get(id) ?? { id, name: measureName(one), checkpoint, found: [] };
      if (!row.found.some((known) => known.of.job === of.job)) row.found.push({ of, figure: one });
      rows.set(id, row);
    }
  }
  return [...rows.values()];
}

function figuresOf({ evaluations }: Result): { evaluation: Evaluated; figure: Figure }[] {
  return evaluations.flatMap((evaluation) => (evaluation.figures ?? []).map((one) => ({ evaluation, figure: one })));
}
