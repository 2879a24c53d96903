// The canvas: uPlot with our colours, and hands to move in it. It is drawn at most once per frame, however much comes.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { colour, onAppearance } from "../style/colours";
import { columns, type Drawn, type Level } from "./drawing";
import { panning, wheeling, zoomed } from "./hands";
import { stroked, type Stroke } from "./hatched";
import { APART_S, levelsInWords, placesInWords } from "./places";
import type { Range } from "./run";
import type { View } from "./view";

export interface Picture {
  drawn: readonly Drawn[];
  levels: readonly Level[];
  view: View;
  hidden: ReadonlySet<number>;
}

export interface Heard {
  /** What is under the cursor: an index into each line's points, or nothing. */
  onCursor: (place: number | undefined) => void;
  onRange: (range: Range | undefined) => void;
}

export class Plot {
  #plot: uPlot | undefined;
  #shape = "";
  #picture: Picture | undefined;
  #scale = 1; // of the page's text, which is larger on large screens
  #frame = 0;
  #held = false; // somebody has the chart in hand
  readonly #unwatch: () => void;
  readonly #sizes: ResizeObserver;

  constructor(private readonly box: HTMLElement, private readonly heard: Heard, private readonly together: string | undefined) {
    this.#unwatch = onAppearance(() => this.#anew());
    this.#sizes = new ResizeObserver(() => (scaleOf() === this.#scale ? this.#plot?.setSize(this.#size()) : this.#anew()));
    this.#sizes.observe(box);
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    this.#unwatch();
    this.#sizes.disconnect();
    this.#plot?.destroy();
  }

  /** Draw this with the next frame; what was to be drawn before then is passed over. */
  draw(make: () => Picture): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#now(make()));
  }

  get canvas(): HTMLCanvasElement | undefined {
    return this.#plot?.ctx.canvas;
  }

  /** The range in sight. */
  get range(): Range | undefined {
    const { min, max } = this.#plot?.scales["x"] ?? {};
    return min === undefined || max === undefined ? undefined : [min, max];
  }

  #now(picture: Picture): void {
    const { drawn, view, levels, hidden } = picture;
    const shape = JSON.stringify([drawn.map((one) => one.line), view.x, view.log, view.smooth > 0, levels]);
    this.#picture = picture;
    const data = columns(drawn, view);
    if (!this.#plot || shape !== this.#shape) {
      this.#shape = shape;
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(picture), data, this.box);
    }
    const plot = this.#plot;
    plot.batch(() => {
      plot.setData(data, false);
      for (const index of drawn.keys()) {
        for (const series of [index + 1, index + 1 + drawn.length]) {
          const known = plot.series[series];
          if (known && known.show === hidden.has(index)) plot.setSeries(series, { show: !hidden.has(index) });
        }
      }
      const [min, max] = (this.#held && this.range) || (view.range ?? extent(data[0]));
      plot.setScale("x", { min, max });
    });
  }

  #anew(): void {
    this.#shape = "";
    const picture = this.#picture;
    if (picture) this.draw(() => picture);
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.box.clientWidth), height: Math.max(120, this.box.clientHeight) };
  }

  #options({ drawn, view, levels }: Picture): uPlot.Options {
    const raw = view.smooth > 0;
    const em = (this.#scale = scaleOf());
    const series: uPlot.Series[] = drawn.map((one) => lineOf(one, 1, em));
    if (raw) series.push(...drawn.map((one) => ({ ...lineOf(one, 0.28, em), points: { show: false } })));
    const axis = { stroke: colour("--ink-faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1, size: 4 }, font: fontOf(this.box, em) };
    return {
      ...this.#size(),
      legend: { show: false },
      scales: { x: { time: false }, y: { distr: view.log ? 3 : 1, range: (_, min, max) => room(min, max, levels, view.log) } },
      series: [{}, ...series],
      axes: [
        { ...axis, size: 30 * em, space: 70 * em, values: (_, splits) => placesInWords(splits, view.x), ...(view.x === "time" ? { incrs: APART_S } : {}) },
        { ...axis, size: 58 * em, space: 30 * em, values: (_, splits) => levelsInWords(splits, view.log) },
      ],
      padding: [8, 18 * em, 0, 0], // half of the last place stands beyond the edge
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false, dist: 4 },
        points: { size: 7 * em },
        ...(this.together ? { sync: { key: this.together, setSeries: false, scales: ["x", null] as [string, null] } } : {}),
        bind: {
          mousedown: (plot, _, handler) => (event) => (event.button === 0 && event.shiftKey ? panning(plot, event, (on) => void (this.#held = on), this.heard.onRange) : handler(event)),
          dblclick: () => () => (this.heard.onRange(undefined), null),
        },
      },
      hooks: {
        ready: [(plot) => wheeling(plot, this.heard.onRange)],
        setCursor: [(plot) => this.heard.onCursor((plot.cursor.left ?? -1) < 0 ? undefined : plot.posToVal(plot.cursor.left ?? 0, "x"))],
        setSelect: [(plot) => zoomed(plot, this.heard.onRange)],
        drawClear: [(plot) => stroked(plot, (index) => strokeOf(drawn[(index - 1) % drawn.length], index > drawn.length, em))],
        draw: [(plot) => drawLevels(plot, levels)],
      },
    };
  }
}

function strokeOf(one: Drawn | undefined, raw: boolean, em: number): Stroke {
  const width = (raw ? 1 : one?.line.soft ? 1.25 : 1.75) * em;
  return { width, ...(one?.line.dash ? { dash: one.line.dash.map((each) => each * em) } : {}) };
}

function lineOf({ line }: Drawn, alpha: number, em: number): uPlot.Series {
  return {
    stroke: colour(line.colour),
    alpha,
    points: { show: (plot, index, first, last) => few(plot.data[index], first, last), size: 5 * em },
  };
}

/** Dots show where few measures are; many would only hide the line. */
function few(values: ArrayLike<number | null | undefined> | undefined, first: number, last: number): boolean {
  let count = 0;
  for (let index = first; index <= last && count < 41; index += 1) if (values?.[index] != null) count += 1;
  return count < 41;
}

function extent(places: ArrayLike<number> | undefined): [number, number] {
  const count = places?.length ?? 0;
  const [min, max] = [places?.[0] ?? 0, places?.[count - 1] ?? 1];
  return min === max ? [min - 0.5, max + 0.5] : [min, max];
}

/** A little room above and below, with the levels in sight. */
function room(low: number | null, high: number | null, levels: readonly Level[], log: boolean): [number, number] {
  const marks = levels.map((one) => one.value).filter((one) => Number.isFinite(one) && (!log || one > 0));
  const min = Math.min(low ?? Infinity, ...marks);
  const max = Math.max(high ?? -Infinity, ...marks);
  if (!(min <= max)) return log ? [1, 10] : [0, 1];
  if (log) return min === max ? [min / 2, max * 2] : [min / (max / min) ** 0.05, max * (max / min) ** 0.05];
  const pad = (max - min) * 0.06 || Math.abs(max) * 0.1 || 1;
  return [min - pad, max + pad];
}

function drawLevels(plot: uPlot, levels: readonly Level[]): void {
  const { ctx, bbox } = plot;
  for (const one of levels) {
    const y = plot.valToPos(one.value, "y", true);
    if (!(y >= bbox.top && y <= bbox.top + bbox.height)) continue;
    ctx.save();
    ctx.strokeStyle = colour(one.colour ?? "--ink-soft");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}

function fontOf(box: HTMLElement, em: number): string {
  return `${Math.round(12 * em)}px ${getComputedStyle(box).fontFamily}`;
}

function scaleOf(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}
