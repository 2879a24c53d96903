import { useMemo } from "preact/hooks";
import { Chart, ChartControls, useCurves, useView, type Level, type Line } from "../../chart";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import type { PartProps } from "./index";
import { over } from "./moves";

const words = t.run.curves;
const KEYS = ["train_loss", "clean_train_loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_s", "noise_effective_alpha", "gpu_memory_bytes"];
const DASHED = [6, 3];

/** Noisy, clean and held-out loss with the base's level; what lies between them; and how the run goes. */
export function Curves({ job, latest }: PartProps) {
  const [view, setView] = useView();
  const runs = [{ id: job.id, last_seq: job.last_seq, ended: over(job) }];
  const curves = useCurves(runs, KEYS, view);
  const lines = useMemo(() => linesOf(job.id), [job.id]);
  const base = latest["base_eval_loss"];
  const asked = typeof job.spec["alpha"] === "number" ? job.spec["alpha"] : undefined;
  const baseLevel = useMemo<Level[]>(() => (base === undefined ? [] : [{ value: base, label: words.base }]), [base]);
  const alphaLevel = useMemo<Level[]>(() => (asked === undefined ? [] : [{ value: asked, label: words.asked }]), [asked]);
  const common = { of: curves, view, onView: setView, together: "run" };
  if (!job.started_at) return <Card title={words.title}><p class="soft">{over(job) ? words.neverRan : words.notYet}</p></Card>;
  return (
    <>
      <Card title={words.title} actions={<ChartControls view={view} onView={setView} />}>
        <Chart {...common} title={words.loss} lines={lines.loss} levels={baseLevel} />
      </Card>
      <div class="run-charts">
        <Card><Chart {...common} small title={words.gap} lines={lines.gap} /></Card>
        {asked !== 0 && <Card><Chart {...common} small title={words.alpha} lines={lines.alpha} levels={alphaLevel} /></Card>}
        <Card><Chart {...common} small title={words.rate} lines={lines.rate} /></Card>
        <Card><Chart {...common} small title={words.norm} lines={lines.norm} /></Card>
        <Card><Chart {...common} small title={words.speed} lines={lines.speed} /></Card>
        {latest["gpu_memory_bytes"] !== undefined && <Card><Chart {...common} small title={words.memory} lines={lines.memory} /></Card>}
      </div>
    </>
  );
}

function linesOf(run: string): Record<"loss" | "gap" | "alpha" | "rate" | "norm" | "speed" | "memory", Line[]> {
  const one = (key: string, label: string, colour = "--series-1"): Line[] => [{ run, key, label, colour }];
  return {
    loss: [
      { run, key: "train_loss", label: words.noisy, colour: "--noisy", soft: true },
      { run, key: "clean_train_loss", label: words.clean, colour: "--series-1" },
      { run, key: "eval_loss", label: words.heldOut, colour: "--series-2", dash: DASHED },
    ],
    gap: [
      { run, key: "eval_loss", minus: "clean_train_loss", label: words.heldOutGap, colour: "--series-2", dash: DASHED },
      { run, key: "train_loss", minus: "clean_train_loss", label: words.noiseGap, colour: "--series-4" },
    ],
    alpha: one("noise_effective_alpha", words.measured, "--series-4"),
    rate: one("learning_rate", words.rate, "--series-5"),
    norm: one("grad_norm", words.norm, "--series-3"),
    speed: one("tokens_per_s", words.speed, "--series-6"),
    memory: one("gpu_memory_bytes", words.memory),
  };
}
