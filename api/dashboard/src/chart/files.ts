// A chart as a picture and as a table, made in the page.
import { keep } from "../api/download";
import { colour } from "../style/colours";
import { t } from "../texts";
import type { Drawn, Level } from "./drawing";
import type { View } from "./view";

const PAD = 12;
const ROW = 20;

/** The canvas on the colour of the surface, under its title, above the names of its lines. */
export function png(title: string, canvas: HTMLCanvasElement, drawn: readonly Drawn[], levels: readonly Level[]): void {
  const scale = devicePixelRatio;
  const names = [
    ...drawn.map(({ line }) => ({ label: line.label, colour: line.colour, dash: line.dash ?? [] })),
    ...levels.map((one) => ({ label: one.label, colour: one.colour ?? "--ink-soft", dash: [2, 4] })),
  ];
  const width = canvas.width / scale;
  const sheet = document.createElement("canvas");
  const context = sheet.getContext("2d");
  if (!context) return;
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const placed = laid(names.map((one) => context.measureText(one.label).width + 44), width);
  const below = ((placed.at(-1)?.row ?? 0) + 1) * ROW;
  sheet.width = canvas.width + 2 * PAD * scale;
  sheet.height = canvas.height + (3 * PAD + ROW + below) * scale;
  context.scale(scale, scale);
  context.fillStyle = colour("--surface");
  context.fillRect(0, 0, sheet.width, sheet.height);
  const family = getComputedStyle(document.body).fontFamily;
  context.fillStyle = colour("--ink");
  context.font = `600 14px ${family}`;
  context.fillText(title, PAD, PAD + 14);
  context.drawImage(canvas, PAD, PAD + ROW, width, canvas.height / scale);
  context.font = `12px ${family}`;
  for (const [index, one] of names.entries()) {
    const { x, row } = placed[index] ?? { x: 0, row: 0 };
    const y = 2 * PAD + ROW + canvas.height / scale + row * ROW + 8;
    context.strokeStyle = colour(one.colour);
    context.lineWidth = 2;
    context.setLineDash([...one.dash]);
    context.beginPath();
    context.moveTo(PAD + x, y - 4);
    context.lineTo(PAD + x + 24, y - 4);
    context.stroke();
    context.fillText(one.label, PAD + x + 30, y);
  }
  sheet.toBlob((blob) => blob && keep(blob, `${fileName(title)}.png`));
}

function laid(widths: readonly number[], most: number): { x: number; row: number }[] {
  let x = 0;
  let row = 0;
  return widths.map((width) => {
    if (x > 0 && x + width > most) {
      x = 0;
      row += 1;
    }
    const place = { x, row };
    x += width;
    return place;
  });
}

/** One row a measure: line, step, place on the axis, value. As thin as the chart. */
export function csv(title: string, drawn: readonly Drawn[], view: View): void {
  const head = ["run", "line", "step", ...(view.x === "step" ? [] : [t.chart.axis[view.x]]), "value"];
  const rows = drawn.flatMap(({ line, steps, places, raw }) => steps.map((step, index) =>
    [line.run, line.label, step, ...(view.x === "step" ? [] : [places[index]]), raw[index]]));
  const text = [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
  keep(new Blob([`${text}\r\n`], { type: "text/csv" }), `${fileName(title)}.csv`);
}

/** Quoted where it must be; what a table program would take for a formula is text. */
function cell(value: unknown): string {
  const said = String(value ?? "");
  const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(said) ? `'${said}` : said;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

function fileName(title: string): string {
  return title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "") || "chart";
}
