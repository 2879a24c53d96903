import { useEffect, useRef, useState } from "preact/hooks";
import { figure } from "../../format";
import { t } from "../../texts";
import { mean, type Result } from "./words";

const words = t.series.chart;
const HEIGHT = 260;
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 32, 34, 40];
const APART = 5; // between seeds of one alpha, so that equal losses are seen as two

interface Mark {
  alpha: number;
  seed: number;
  place: number;
  value: number;
}

/** Alpha against clean held-out loss: each run's last step and its best one, their means, and the control. */
export function AlphaChart({ results, recommended }: { results: readonly Result[]; recommended: number | null }) {
  const [box, width, em] = useWidth();
  const seeds = [...new Set(results.map((one) => one.seed))].sort((a, b) => a - b);
  const marksOf = (name: "eval_loss" | "best_eval_loss"): Mark[] => results.flatMap((one) => {
    const value = one[name];
    return value === null ? [] : [{ alpha: one.alpha, seed: one.seed, place: seeds.indexOf(one.seed) - (seeds.length - 1) / 2, value }];
  });
  const last = marksOf("eval_loss");
  const best = marksOf("best_eval_loss");
  if (last.length + best.length === 0) return <p class="soft">{words.empty}</p>;
  return (
    <figure class="series-chart">
      <div ref={box}>{width > 0 && <Drawn width={width / em} em={em} last={last} best={best} recommended={recommended} alphas={[...new Set(results.map((one) => one.alpha))]} />}</div>
      <figcaption class="soft">
        <span class="series-key last">{words.last}</span> <span class="series-key best">{words.best}</span> <span class="series-key control">{words.controlKey}</span>
      </figcaption>
    </figure>
  );
}

interface Drawing {
  /** In pixels of usual size; all that is drawn grows with the page's text. */
  width: number;
  em: number;
  last: readonly Mark[];
  best: readonly Mark[];
  alphas: readonly number[];
  recommended: number | null;
}

function Drawn({ width, em, last, best, alphas, recommended }: Drawing) {
  const values = [...last, ...best].map((one) => one.value);
  const ticks = ticksOf(Math.min(...values), Math.max(...values));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const digits = Math.max(0, -Math.floor(Math.log10((ticks[1] ?? 1) - low || 1) + 1e-9));
  const most = Math.max(...alphas, 1);
  const x = (alpha: number): number => LEFT + 12 + (alpha / most) * (width - LEFT - RIGHT - 24);
  const y = (value: number): number => TOP + ((high - value) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const level = mean(best.filter((one) => one.alpha === 0).map((one) => one.value));
  return (
    <svg class="series-plot" width={width * em} height={HEIGHT * em} viewBox={`0 0 ${width} ${HEIGHT}`} role="img" aria-label={words.label}>
      <rect class="control" x={x(0) - 16} y={TOP - 8} width={32} height={HEIGHT - TOP - BOTTOM + 16} rx={4} />
      <text class="control" x={x(0)} y={TOP - 14} text-anchor="middle">{words.control}</text>
      {recommended !== null && <text class="recommended" x={x(recommended)} y={TOP - 14} text-anchor="middle">{words.recommended}</text>}
      {ticks.map((tick) => (
        <g key={tick}>
          <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(tick)} y2={y(tick)} />
          <text x={LEFT - 8} y={y(tick) + 4} text-anchor="end">{tick.toFixed(digits)}</text>
        </g>
      ))}
      {alphas.map((alpha) => <text key={alpha} x={x(alpha)} y={HEIGHT - BOTTOM + 20} text-anchor="middle">{alpha}</text>)}
      <text class="axis" x={(LEFT + width - RIGHT) / 2} y={HEIGHT - 4} text-anchor="middle">{words.alpha}</text>
      {level !== undefined && <line class="level" x1={LEFT} x2={width - RIGHT} y1={y(level)} y2={y(level)}><title>{words.level(figure(level))}</title></line>}
      {([["last", last], ["best", best]] as const).map(([kind, marks]) => (
        <g key={kind} class={kind}>
          <polyline points={means(marks).map(([alpha, value]) => `${x(alpha)},${y(value)}`).join(" ")} />
          {marks.map((one) => <Point key={`${one.alpha} ${one.seed}`} kind={kind} mark={one} x={x(one.alpha) + one.place * APART} y={y(one.value)} />)}
        </g>
      ))}
    </svg>
  );
}

function Point({ kind, mark, x, y }: { kind: "last" | "best"; mark: Mark; x: number; y: number }) {
  const title = <title>{words.point(mark.alpha, mark.seed, words[kind], figure(mark.value))}</title>;
  if (kind === "last") return <circle cx={x} cy={y} r={4}>{title}</circle>;
  return <path d={`M${x} ${y - 8}l8 8l-8 8l-8 -8z`}>{title}</path>;
}

function means(marks: readonly Mark[]): (readonly [number, number])[] {
  const alphas = [...new Set(marks.map((one) => one.alpha))].sort((a, b) => a - b);
  return alphas.map((alpha) => [alpha, mean(marks.filter((one) => one.alpha === alpha).map((one) => one.value)) ?? 0] as const);
}

/** Round numbers from below the lowest to above the highest. */
export function ticksOf(low: number, high: number): number[] {
  const span = high - low || Math.abs(high) * 0.01 || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const first = Math.floor(low / step);
  const count = Math.ceil(high / step) - first;
  return Array.from({ length: Math.max(1, count) + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function useWidth(): [ref: { current: HTMLDivElement | null }, width: number, em: number] {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([seen]) => setWidth(Math.floor(seen?.contentRect.width ?? 0)));
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return [box, width, parseFloat(getComputedStyle(document.documentElement).fontSize) / 16];
}
