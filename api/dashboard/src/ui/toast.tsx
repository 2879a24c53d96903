import { asProblem } from "../api/problem";
import { Store, useStore } from "../store";
import { t } from "../texts";
import { Button } from "./Button";
import { Icon } from "./Icon";

interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
}

const shown = new Store<readonly Toast[]>([]);
const STAYS_MS = 6000;
let last = 0;

/** Say something in passing. What is good goes by itself; what is bad stays until it was read. */
export function toast(text: string, kind: Toast["kind"] = "good"): void {
  const one: Toast = { id: (last += 1), text, kind };
  shown.change((all) => [...all.slice(-3), one]);
  if (kind === "good") setTimeout(() => drop(one.id), STAYS_MS);
}

/** For the end of a promise: `void pause().catch(toastProblem)`. */
export function toastProblem(thrown: unknown): void {
  toast(asProblem(thrown).message, "bad");
}

function drop(id: number): void {
  shown.change((all) => all.filter((one) => one.id !== id));
}

/** The dialogs that are open, the last one on top: it alone can be reached and heard, so what is said is said in it. */
export const modals = new Store<readonly string[]>([]);

/** What is said now, if this is where it can be heard: in the dialog on top, else (`within` left out) on the page. */
export function Toasts({ within }: { within?: string }) {
  const all = useStore(shown);
  const heard = useStore(modals).at(-1) === within;
  return (
    <div class="toasts" role="status" aria-live="polite">
      {heard && all.map((one) => (
        <div key={one.id} class={`toast ${one.kind}`}>
          <span title={one.text}>{one.text}</span>
          <Button kind="quiet" label={t.close} onClick={() => drop(one.id)}><Icon name="cross" /></Button>
        </div>
      ))}
    </div>
  );
}
