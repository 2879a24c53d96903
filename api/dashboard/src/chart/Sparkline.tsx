import { figure } from "../format";
import { t } from "../texts";
import "./chart.css";

/** A curve as small as a word, told by its ends. */
export function Sparkline({ label, values }: { label: string; values: readonly number[] }) {
  if (values.length < 2) return <span class="faint">{t.none}</span>;
  const low = Math.min(...values);
  const high = Math.max(...values);
  const points = values.map((value, index) => `${((index / (values.length - 1)) * 96 + 2).toFixed(1)},${(26 - ((value - low) / (high - low || 1)) * 22).toFixed(1)}`);
  const said = t.chart.spark(label, figure(values[0]), figure(values.at(-1)));
  return (
    <svg class="sparkline" viewBox="0 0 100 28" role="img" aria-label={said}><polyline points={points.join(" ")} /></svg>
  );
}
