import { useEffect, useRef, useState } from "preact/hooks";
import { age, moment } from "../format";
import { Store } from "../store";
import { t } from "../texts";
import { Button } from "./Button";
import { toastProblem } from "./toast";

/** Text of any length on one line: the end is cut off on purpose, the whole is in the title. */
export function Clip({ text, mono }: { text: string; mono?: boolean }) {
  return <span class={mono ? "clip mono" : "clip"} title={text} dir="auto">{text}</span>;
}

const clock = new Store(0); // one for all times of the page, of which a long list has a thousand
setInterval(() => clock.change((ticks) => ticks + 1), 10_000);

/** How long ago; keeps true while it stands there. */
export function Ago({ time }: { time: string | null | undefined }) {
  const [, say] = useState("");
  useEffect(() => clock.watch(() => say(time ? age(time) : "")), [time]); // drawn anew only when it reads differently
  return time ? <time dateTime={time} title={moment(time)}>{age(time)}</time> : <>{t.none}</>;
}

export function Copy({ text, label = t.copy }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  const button = useRef<HTMLSpanElement>(null);
  const copy = async (): Promise<void> => {
    await copied(text, button.current);
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return <span ref={button}><Button kind="quiet" onClick={() => void copy().catch(toastProblem)}>{done ? t.copied : label}</Button></span>;
}

/** Over plain HTTP from another machine there is no clipboard but that of the old command, which copies what is selected. */
async function copied(text: string, beside: HTMLElement | null): Promise<void> {
  if ("clipboard" in navigator) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // beside the button: within a dialog nothing else can be selected
  area.value = text;
  area.className = "sr-only";
  beside?.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error(t.copyFailed);
}
