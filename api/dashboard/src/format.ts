// Numbers and times as people read them. Knows no markup.
import { t } from "./texts";

const STEPS = ["B", "kB", "MB", "GB", "TB"];

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return t.none;
  let step = 0;
  let left = count;
  while (left >= 1000 && step < STEPS.length - 1) {
    left /= 1000;
    step += 1;
  }
  return `${step === 0 || left >= 100 ? left.toFixed(0) : left.toPrecision(3)} ${STEPS[step] ?? ""}`;
}

const WHOLE = new Intl.NumberFormat("en"); // made once: it is dear

export function whole(count: number | null | undefined): string {
  return count === null || count === undefined ? t.none : WHOLE.format(count);
}

/** A loss, a rate: so many significant digits, and never `1e+5`. */
export function figure(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return t.none;
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)) return value.toExponential(Math.max(0, digits - 2));
  return Math.abs(value) >= 10 ** digits ? WHOLE.format(Math.round(value)) : String(Number(value.toPrecision(digits)));
}

/** `95` as `1m 35s`: the two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return t.none;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]] as const;

/** How long ago, or in how long, in the largest unit that fits. */
export function age(time: string, now = Date.now()): string {
  const s = (now - Date.parse(time)) / 1000;
  const far = Math.abs(s);
  if (far < 10) return t.age.now;
  const [unit, long] = UNITS.find(([, each]) => far >= each * 0.95) ?? UNITS[3];
  const told = `${Math.round(far / long)}${unit}`;
  return s > 0 ? t.age.ago(told) : t.age.in(told);
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** The whole time, in the reader's own zone. */
export function moment(time: string): string {
  return MOMENT.format(new Date(time));
}
