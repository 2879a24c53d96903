import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../../api/problem";
import { setQuery, usePlace } from "../../router";
import { t } from "../../texts";
import { Field } from "../../ui/Field";
import { Card } from "../../ui/Page";

const words = t.datasets.lens;
const TEMPLATES = ["auto", "alpaca", "vicuna", "chat", "plain"] as const;
const TRAIN_ON = ["response", "all"] as const;
const LENGTH = 512; // what a job keeps where nothing is said
const PAUSE_MS = 400;

/** What rows are looked at by; the parameters of the two looks. */
export interface Asked {
  model: string;
  template: (typeof TEMPLATES)[number];
  max_length: number;
  train_on: (typeof TRAIN_ON)[number];
}

/** Read it from the address; `steady` follows when nothing was changed for a moment. */
export function useLens(models: readonly string[]): { asked: Asked; steady: Asked } {
  const { query } = usePlace();
  const asked: Asked = {
    model: query.get("model") ?? models[0] ?? "",
    template: TEMPLATES.find((one) => one === query.get("template")) ?? "auto",
    max_length: Number(query.get("max_length") ?? LENGTH), // the service says what is wrong with it
    train_on: TRAIN_ON.find((one) => one === query.get("train_on")) ?? "response",
  };
  const [steady, setSteady] = useState(asked);
  const same = Object.entries(asked).every(([name, value]) => Object.is(steady[name as keyof Asked], value));
  useEffect(() => {
    if (same) return undefined;
    const timer = setTimeout(() => setSteady(asked), PAUSE_MS);
    return () => clearTimeout(timer);
  });
  return { asked, steady };
}

/** Whether what was asked is at fault, and so marked beside its field. */
export function misfitOf(problem: ApiError | undefined): boolean {
  return ["/query/model", "/model", "/query/max_length"].some((place) => problem?.at(place));
}

export function Lens({ models, asked, problem }: { models: readonly string[]; asked: Asked; problem: ApiError | undefined }) {
  const put = (name: keyof Asked) => (event: { currentTarget: { value: string } }) => setQuery({ [name]: event.currentTarget.value });
  const [typed, setTyped] = useState(String(asked.max_length)); // while it is emptied to type another
  const options = models.includes(asked.model) ? models : [asked.model, ...models];
  return (
    <Card title={words.title}>
      <div class="datasets-lens">
        <Field label={words.model} error={problem?.at("/query/model")?.message ?? problem?.at("/model")?.message}>
          {(its) => <select {...its} value={asked.model} onChange={put("model")}>{options.map((one) => <option key={one}>{one}</option>)}</select>}
        </Field>
        <Field label={words.template}>
          {(its) => (
            <select {...its} value={asked.template} onChange={put("template")}>
              {TEMPLATES.map((one) => <option key={one} value={one}>{words.templates[one]}</option>)}
            </select>
          )}
        </Field>
        <Field label={words.length} error={problem?.at("/query/max_length")?.message}>
          {(its) => <input {...its} inputMode="numeric" value={typed} onInput={(event) => { setTyped(event.currentTarget.value); put("max_length")(event); }} />}
        </Field>
        <Field label={words.trainOn}>
          {(its) => (
            <select {...its} value={asked.train_on} onChange={put("train_on")}>
              {TRAIN_ON.map((one) => <option key={one} value={one}>{words.on[one]}</option>)}
            </select>
          )}
        </Field>
      </div>
    </Card>
  );
}
