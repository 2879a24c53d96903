// What figures of evaluations are called. Pure.
import type { Figure } from "./api/types";
import { t } from "./texts";

const words = t.measures;

/** `Loss (held-out rows)`. Names that others chose, those of tasks and datasets, stay as they are. */
export function measureName({ measure, of }: Pick<Figure, "measure" | "of">): string {
  const [kind, id] = of.split(":");
  const side = id === undefined ? words.of[of] ?? of : words.against(kind === "run" ? t.runNamed(id.slice(-6)) : id);
  return `${words.name[measure] ?? measure} (${side})`;
}

/** `Best step`, `Step 8`: what the name of a checkpoint means. */
export function checkpointName(of: unknown, step?: number | null): string {
  if (typeof of === "number") return words.step(of);
  if (of === "step" && step != null) return words.step(step);
  const name = words.checkpoint[String(of)] ?? String(of);
  return of !== "base" && step != null ? `${name}, ${t.compare.atStep(step)}` : name;
}
