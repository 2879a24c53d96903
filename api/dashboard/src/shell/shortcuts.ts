// Keys that do something wherever the focus is, except where text is typed.
import { useEffect, useRef } from "preact/hooks";
import { remembered, Store } from "../store";

export interface Shortcut {
  /** One key (`?`), or two after each other (`g r`). */
  keys: string;
  label: string;
  act: () => void;
}

export const shortcuts = new Store<readonly Shortcut[]>([]);
export const shortcutsOn = remembered("neftune.shortcuts", "on");

/** Have a key do something while the component is there; it is listed under `?`. */
export function useShortcut(keys: string, label: string, act: () => void): void {
  const acting = useRef(act);
  acting.current = act;
  useEffect(() => {
    const mine: Shortcut = { keys, label, act: () => acting.current() };
    shortcuts.change((all) => [...all, mine]);
    return () => shortcuts.change((all) => all.filter((one) => one !== mine));
  }, [keys, label]);
}

const PATIENCE_MS = 1500;
let first = "";
let since = 0;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (shortcutsOn.get() !== "on" && event.key !== "?") return;
  const pair = event.timeStamp - since < PATIENCE_MS ? `${first} ${event.key}` : "";
  const found = shortcuts.get().findLast((one) => one.keys === pair || one.keys === event.key);
  first = found ? "" : event.key;
  since = event.timeStamp; // when it was pressed: a busy page hears of it later
  if (!found) return;
  event.preventDefault();
  found.act();
});

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.closest("dialog")) return true;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
