import type { ComponentChildren } from "preact";

interface Props {
  children: ComponentChildren;
  /** `primary`: the one thing to do here. `danger`: something is lost by it. `quiet`: beside other things. */
  kind?: "plain" | "primary" | "danger" | "quiet";
  type?: "button" | "submit";
  /** For a button without words: what it does. */
  label?: string;
  title?: string;
  class?: string;
  busy?: boolean;
  disabled?: boolean;
  expanded?: boolean;
  /** Of buttons of which one is chosen. */
  pressed?: boolean;
  onClick?: () => void;
}

export function Button({ children, kind = "plain", type = "button", label, title, class: more, busy, disabled, expanded, pressed, onClick }: Props) {
  return (
    <button type={type} class={`button ${kind} ${more ?? ""}`} aria-label={label} title={title ?? label} aria-busy={busy}
      aria-expanded={expanded} aria-pressed={pressed} disabled={disabled || busy} onClick={onClick}>
      {children}
    </button>
  );
}
