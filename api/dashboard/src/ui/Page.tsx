import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../texts";

interface Props {
  title: string;
  /** What can be done with the whole; stands right of the title. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

let opened = 0;

/** The frame of a screen: its title in the tab and on top, and the focus at its beginning. */
export function Page({ title, actions, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · ${t.product}`;
  }, [title]);
  useLayoutEffect(() => { // at once: later, it would take the focus from where somebody has gone with it
    opened += 1;
    if (opened > 1) heading.current?.focus({ preventScroll: true }); // the first one has the browser's own beginning
    scrollTo(0, 0);
  }, []);
  return (
    <article class="page">
      <header class="page-head">
        <h1 ref={heading} tabIndex={-1} class="clip" title={title}>{title}</h1>
        <div class="actions">{actions}</div>
      </header>
      {children}
    </article>
  );
}

/** Where the focus goes when what had it is gone: the beginning of the screen. */
export function toTop(): void {
  document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
}

/** A part of a screen on a surface of its own. */
export function Card({ title, actions, children, class: more }: { title?: string; actions?: ComponentChildren; children: ComponentChildren; class?: string }) {
  return (
    <section class={`card ${more ?? ""}`}>
      {(title || actions) && <header><h2>{title}</h2><div class="actions">{actions}</div></header>}
      {children}
    </section>
  );
}
