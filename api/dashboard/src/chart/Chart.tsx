import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useStore } from "../store";
import { t } from "../texts";
import { Button } from "../ui/Button";
import { Failed, Loading } from "../ui/States";
import "./chart.css";
import { drawnOf, inWords, type Drawn, type Level, type Line } from "./drawing";
import { csv, png } from "./files";
import { scaled, shifted } from "./hands";
import { Legend } from "./Legend";
import { Plot } from "./Plot";
import type { Range } from "./run";
import type { CurveSource } from "./source";
import { ValueTable } from "./ValueTable";
import type { View } from "./view";

interface Props {
  title: string;
  lines: readonly Line[];
  of: CurveSource;
  view: View;
  onView: (change: Partial<View>) => void;
  levels?: readonly Level[];
  /** Charts with the same word show their cursors together. */
  together?: string;
  small?: boolean;
}

const NO_LEVELS: readonly Level[] = [];

/** Lines over steps, epochs, tokens or time: live, zoomed and panned by mouse or keys, told in words and as a table. */
export function Chart({ title, lines, of: source, view, onView, levels = NO_LEVELS, together, small }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | undefined>(undefined);
  const [cursor, setCursor] = useState<number>();
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [table, setTable] = useState(false);
  const [told, setTold] = useState<readonly Drawn[]>([]);
  const ready = useStore(source.ready);
  const problem = useStore(source.problem);
  const latest = useRef({ lines, levels, view, hidden });
  latest.current = { lines, levels, view, hidden };
  const onRange = (range: Range | undefined): void => onView({ range });
  const ranging = useRef(onRange);
  ranging.current = onRange;

  const draw = useMemo(() => {
    let words = -Infinity; // what stands beside the canvas is renewed less often, but comes with the first curve
    return (): void => plot.current?.draw(() => {
      const now = latest.current;
      const drawn = now.lines.map((line) => drawnOf(line, source.runs.get(line.run), now.view));
      if (performance.now() - words > 250) {
        if (words === -Infinity) setTold(drawn); // what lies below must not jump
        words = performance.now();
        setTimeout(() => setTold(now.lines.map((line) => drawnOf(line, source.runs.get(line.run), latest.current.view))), 250);
      }
      return { drawn, levels: now.levels, view: now.view, hidden: now.hidden };
    });
  }, [source]);

  useEffect(() => {
    if (!box.current || !ready) return undefined;
    plot.current = new Plot(box.current, { onCursor: setCursor, onRange: (range) => ranging.current(range) }, together);
    const unwatch = source.changed.watch(draw);
    draw();
    return () => {
      unwatch();
      plot.current?.destroy();
    };
  }, [source, ready, draw, together]);
  useEffect(draw, [draw, lines, levels, view, hidden]);

  const said = useMemo(() => inWords(title, told, levels), [title, told, levels]);
  const empty = ready && told.length > 0 && told.every((one) => one.values.length === 0);
  const keys = (event: KeyboardEvent): void => {
    const range = plot.current?.range;
    const next = range && moved(event.key, range);
    if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    onRange(next === "whole" ? undefined : next);
  };
  const move = (how: (range: Range) => Range) => (): void => {
    const range = plot.current?.range;
    if (range) onRange(how(range));
  };
  return (
    <figure class={small ? "chart small" : "chart"}>
      <figcaption>
        <h3>{title}</h3>
        <span class="chart-tools">
          <Button kind="quiet" label={t.chart.zoomIn(title)} title={t.chart.zoomInKey} onClick={move((range) => scaled(range, 0.5))}>+</Button>
          <Button kind="quiet" label={t.chart.zoomOut(title)} title={t.chart.zoomOutKey} onClick={move((range) => scaled(range, 2))}>−</Button>
          {view.range && <>
            <Button kind="quiet" label={t.chart.left(title)} onClick={move((range) => shifted(range, -0.4))}>←</Button>
            <Button kind="quiet" label={t.chart.right(title)} onClick={move((range) => shifted(range, 0.4))}>→</Button>
            <Button kind="quiet" onClick={() => onRange(undefined)}>{t.chart.whole}</Button>
          </>}
          <Button kind="quiet" label={t.chart.tableOf(title)} expanded={table} onClick={() => setTable(!table)}>{t.chart.table}</Button>
          <Button kind="quiet" label={t.chart.pngOf(title)} onClick={() => plot.current?.canvas && png(title, plot.current.canvas, told, levels)}>{t.chart.png}</Button>
          <Button kind="quiet" label={t.chart.csvOf(title)} onClick={() => csv(title, told, view)}>{t.chart.csv}</Button>
        </span>
      </figcaption>
      {problem ? <Failed problem={problem} again={() => source.again()} /> : !ready && <Loading />}
      <div class="chart-box" hidden={!ready || problem !== undefined}>
        <div ref={box} class="chart-plot" tabIndex={0} role="group" aria-roledescription={t.chart.kind} aria-label={said}
          onKeyDown={keys} />
        {empty && <p class="chart-empty">{t.chart.nothing}</p>}
      </div>
      {ready && <Legend drawn={told} levels={levels} axis={view.x} cursor={cursor} hidden={hidden} onHide={setHidden} />}
      {ready && !small && !empty && <p class="chart-hint">{t.chart.hint}</p>}
      {table && <ValueTable title={title} drawn={told} axis={view.x} range={view.range} />}
    </figure>
  );
}

function moved(key: string, range: Range): Range | "whole" | undefined {
  if (key === "ArrowLeft") return shifted(range, -0.1);
  if (key === "ArrowRight") return shifted(range, 0.1);
  if (key === "+" || key === "=") return scaled(range, 0.7);
  if (key === "-") return scaled(range, 1 / 0.7);
  return key === "0" || key === "Home" ? "whole" : undefined;
}
