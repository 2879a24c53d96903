import { figure } from "../format";
import { t } from "../texts";
import type { Drawn, Level, Line } from "./drawing";
import { pointedAt } from "./places";
import { lowerBound } from "./points";
import type { Axis } from "./run";

interface Props {
  drawn: readonly Drawn[];
  levels: readonly Level[];
  axis: Axis;
  cursor: number | undefined;
  hidden: ReadonlySet<number>;
  onHide: (hidden: ReadonlySet<number>) => void;
}

/** Which line is which, and what each is: under the cursor, or at its end. A press hides a line. */
export function Legend({ drawn, levels, axis, cursor, hidden, onHide }: Props) {
  const toggle = (index: number): void => {
    const next = new Set(hidden);
    if (!next.delete(index)) next.add(index);
    onHide(next);
  };
  return (
    <ul class="chart-legend">
      {drawn.map((one, index) => (
        <li key={`${one.line.run} ${one.line.key} ${one.line.label}`}>
          <button type="button" aria-pressed={!hidden.has(index)} title={t.chart.toggle} onClick={() => toggle(index)}>
            <Swatch line={one.line} /><span class="clip" dir="auto">{one.line.label}</span> <b>{figure(shown(one, cursor))}</b>
          </button>
        </li>
      ))}
      {levels.map((one) => (
        <li key={one.label} class="chart-level"><Swatch line={{ colour: one.colour ?? "--ink-soft", dash: [2, 4] }} />{one.label} <b>{figure(one.value)}</b></li>
      ))}
      <li class="chart-at">{cursor === undefined ? t.chart.latest : t.chart.at(t.chart.axis[axis], pointedAt(cursor, axis))}</li>
    </ul>
  );
}

function Swatch({ line }: { line: Pick<Line, "colour" | "dash" | "soft"> }) {
  return (
    <svg viewBox="0 0 24 8" aria-hidden="true" class="chart-swatch">
      <line x1="0" x2="24" y1="4" y2="4" stroke={`var(${line.colour})`} stroke-width={line.soft ? 1.5 : 2.5} stroke-dasharray={line.dash?.join(" ")} />
    </svg>
  );
}

/** The measure nearest to a place, or the last one. */
function shown({ places, values }: Drawn, cursor: number | undefined): number | undefined {
  if (cursor === undefined) return values.at(-1);
  const after = lowerBound(places, cursor);
  const [left = -Infinity, right = Infinity] = [places[after - 1], places[after]];
  return cursor - left < right - cursor ? values[after - 1] : values[after];
}
