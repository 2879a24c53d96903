import type { ComponentChildren } from "preact";
import { t } from "../texts";

export type Tone = "plain" | "good" | "bad" | "warn" | "busy";

/** A short fact; its words tell it, the colour only helps. */
export function Badge({ tone = "plain", children, title }: { tone?: Tone; children: ComponentChildren; title?: string }) {
  return <span class={`badge ${tone}`} title={title}>{children}</span>;
}

const TONES: Record<string, Tone> = { running: "busy", succeeded: "good", failed: "bad", paused: "warn" };

export function StatusBadge({ status }: { status: string }) {
  return <Badge tone={TONES[status] ?? "plain"}>{t.status[status] ?? status}</Badge>;
}

/** The strength of the noise, as it is named everywhere. */
export function Alpha({ value }: { value: number }) {
  return <Badge title={`alpha ${value}`}>α {value}</Badge>;
}
