import { t } from "../texts";
import "./chart.css";
import { AXES, type Axis } from "./run";
import type { View } from "./view";

/** How all charts of a screen are looked at: what lies along x, smoothing, a logarithmic y axis. */
export function ChartControls({ view, onView }: { view: View; onView: (change: Partial<View>) => void }) {
  return (
    <div class="chart-controls" role="group" aria-label={t.chart.controls}>
      <label>{t.chart.x} <select value={view.x} onChange={(event) => onView({ x: event.currentTarget.value as Axis })}>
        {AXES.map((one) => <option key={one} value={one}>{t.chart.axis[one]}</option>)}
      </select></label>
      <label>{t.chart.smooth} <input type="range" min="0" max="0.99" step="0.01" value={view.smooth}
        onInput={(event) => onView({ smooth: Number(event.currentTarget.value) })} /> <output>{view.smooth.toFixed(2)}</output></label>
      <label class="check"><input type="checkbox" checked={view.log} onChange={(event) => onView({ log: event.currentTarget.checked })} /> {t.chart.log}</label>
    </div>
  );
}
