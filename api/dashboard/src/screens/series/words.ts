// What is told of a series in short. Pure.
import type { Sweep, SweepDetail } from "../../api/types";
import { figure } from "../../format";
import { t } from "../../texts";

export const ENDED: readonly string[] = ["succeeded", "failed", "cancelled"];

export const nameOf = (one: Sweep): string => one.name || t.series.named(one.id.slice(-6));
export const jobsOf = (one: Sweep): number => Object.values(one.jobs).reduce((sum, count) => sum + count, 0);
export const endedOf = (one: Sweep): number => ENDED.reduce((sum, status) => sum + (one.jobs[status] ?? 0), 0);
export const isOver = (one: Sweep): boolean => endedOf(one) === jobsOf(one);

/** A difference with its sign: below zero is better. */
export function signed(value: number | null | undefined): string {
  if (value === null || value === undefined) return t.none;
  return value > 0 ? `+${figure(value, 3)}` : figure(value, 3).replace("-", "−");
}

export function interval(ends: readonly number[] | null | undefined): string {
  const [low, high] = ends ?? [];
  return low === undefined || high === undefined ? t.none : t.series.interval(signed(low), signed(high));
}

export type Result = SweepDetail["results"][number];

export function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, one) => sum + one, 0) / values.length;
}
