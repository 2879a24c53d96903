// What a design token is in the appearance of now: for canvases, which know no variables.

/** `colour("--series-1")` as `rgb(…)`. */
export function colour(token: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${token})`;
  probe.hidden = true;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Be called whenever the appearance changes, by the system or by the switch; gives back what ends it. */
export function onAppearance(redraw: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", redraw);
  const chosen = new MutationObserver(redraw);
  chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return () => {
    system.removeEventListener("change", redraw);
    chosen.disconnect();
  };
}
