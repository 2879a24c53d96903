import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { t } from "../texts";

interface Given {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

interface Props {
  label: string;
  hint?: ComponentChildren;
  /** What is wrong with it, in the service's words: `problem?.at("/training/epochs")?.message`. */
  error?: string | undefined;
  optional?: boolean;
  /** Draws the input with what belongs to it: `{(its) => <input {...its} value=… />}`. */
  children: (its: Given) => ComponentChildren;
}

/** A label, an input, and what is to be said about them; the error stands beside what it is about. */
export function Field({ label, hint, error, optional, children }: Props) {
  const id = useId();
  const told = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const its: Given = { id, ...(told ? { "aria-describedby": told } : {}), ...(error ? { "aria-invalid": true as const } : {}) };
  return (
    <div class={error ? "field wrong" : "field"}>
      <label for={id}>{label}{optional && <span class="faint"> {t.optional}</span>}</label>
      {children(its)}
      {hint && <p id={`${id}-hint`} class="hint">{hint}</p>}
      {error && <p id={`${id}-error`} class="error" role="alert">{error}</p>}
    </div>
  );
}
