import { useMemo } from "preact/hooks";
import { useQuery } from "../router";
import { t } from "../texts";
import { Chart } from "./Chart";
import { ChartControls } from "./Controls";
import type { Line } from "./drawing";
import type { Followed } from "./source";
import { useCurves } from "./useCurves";
import { useView } from "./view";

/** A run among others: what its line is called, and how it is told apart. */
export interface Member extends Followed {
  label: string;
  colour: string;
  dash?: readonly number[];
}

interface Curve {
  key: string;
  minus?: string;
}

const CURVES = {
  held_out: { key: "eval_loss" },
  clean: { key: "clean_train_loss" },
  noisy: { key: "train_loss" },
  gap: { key: "eval_loss", minus: "clean_train_loss" },
  learning_rate: { key: "learning_rate" },
  grad_norm: { key: "grad_norm" },
  tokens_per_s: { key: "tokens_per_s" },
} as const satisfies Record<string, Curve>;
type Name = keyof typeof CURVES;

const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];
const DASHES: readonly (readonly number[] | undefined)[] = [undefined, [7, 3], [2, 3], [10, 3, 2, 3], [5, 5], [1, 2]];

export const colourOf = (place: number): string => COLOURS[place % COLOURS.length] ?? "--series-1";

/** A dash of its own, so that lines are told apart without colours too. */
export function dashOf(place: number): { dash?: readonly number[] } {
  const dash = DASHES[place % DASHES.length];
  return dash ? { dash } : {};
}

/** One curve of several runs on one axis; which one is chosen in the address. */
export function Together({ members }: { members: readonly Member[] }) {
  const [asked, setCurve] = useQuery("curve", "held_out");
  const name: Name = asked in CURVES ? (asked as Name) : "held_out";
  const curve: Curve = CURVES[name];
  const [view, setView] = useView();
  const keys = useMemo(() => [curve.key, ...(curve.minus ? [curve.minus] : [])], [name]);
  const source = useCurves(members, keys, view);
  const lines = useMemo(() => members.map(({ id, label, colour, dash }): Line => ({ run: id, label, colour, ...curve, ...(dash ? { dash } : {}) })),
    [name, members.map((one) => `${one.id} ${one.label} ${one.colour}`).join()]);
  return (
    <>
      <div class="chart-controls">
        <label>{t.chart.curve} <select value={name} onChange={(event) => setCurve(event.currentTarget.value)}>
          {(Object.keys(CURVES) as Name[]).map((one) => <option key={one} value={one}>{t.chart.curves[one]}</option>)}
        </select></label>
        <ChartControls view={view} onView={setView} />
      </div>
      <Chart key={name} title={t.chart.curves[name]} lines={lines} of={source} view={view} onView={setView} />
    </>
  );
}
