import { figure, whole } from "../format";
import { t } from "../texts";
import { Table, type Column } from "../ui/Table";
import type { Drawn } from "./drawing";
import { pointedAt } from "./places";
import { lowerBound } from "./points";
import type { Axis, Range } from "./run";

const ROWS = 100;

interface Row {
  step: number;
  place: number;
  values: (number | undefined)[];
}

/** What the lines are made of, as far as it is in sight, in at most so many rows. */
export function ValueTable({ title, drawn, axis, range }: { title: string; drawn: readonly Drawn[]; axis: Axis; range: Range | undefined }) {
  const rows = thin(rowsOf(drawn, range));
  const columns: Column<Row>[] = [
    { head: t.chart.axis.step, number: true, cell: (row) => whole(row.step) },
    ...(axis === "step" ? [] : [{ head: t.chart.axis[axis], number: true, cell: (row: Row) => pointedAt(row.place, axis) }]),
    ...drawn.map((one, index) => ({ head: one.line.label, number: true, cell: (row: Row) => figure(row.values[index]) })),
  ];
  return (
    <div class="chart-table">
      <Table label={t.chart.tableOf(title)} columns={columns} rows={rows} id={(row) => String(row.step)} />
    </div>
  );
}

function rowsOf(drawn: readonly Drawn[], range: Range | undefined): Row[] {
  const rows = new Map<number, Row>();
  for (const [index, { steps, places, raw }] of drawn.entries()) {
    const begin = range ? lowerBound(places, range[0]) : 0;
    for (let at = begin; at < steps.length && (!range || (places[at] ?? 0) <= range[1]); at += 1) {
      const step = steps[at] ?? 0;
      const row = rows.get(step) ?? { step, place: places[at] ?? 0, values: [] };
      row.values[index] = raw[at];
      rows.set(step, row);
    }
  }
  return [...rows.values()].sort((a, b) => a.step - b.step);
}

/** Rows with the most to tell first: those where a rare line has a value; then evenly. */
function thin(rows: Row[]): Row[] {
  if (rows.length <= ROWS) return rows;
  const most = Math.max(...rows.map((row) => row.values.filter((one) => one !== undefined).length));
  const full = rows.filter((row) => row.values.filter((one) => one !== undefined).length === most);
  const chosen = full.length > ROWS / 4 ? full : rows;
  const each = Math.max(1, (chosen.length - 1) / (ROWS - 1));
  return Array.from({ length: Math.min(ROWS, chosen.length) }, (_, index) => chosen[Math.round(index * each)]).filter((row) => row !== undefined);
}
