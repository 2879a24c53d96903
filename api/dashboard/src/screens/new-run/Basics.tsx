import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Dataset } from "../../api/types";
import { age } from "../../format";
import { runById, runChoice } from "../../naming";
import { go } from "../../router";
import { t } from "../../texts";
import { Field } from "../../ui/Field";
import { Link } from "../../ui/Link";
import { Card } from "../../ui/Page";
import { Picker, type Choice } from "../../ui/Picker";
import type { Beginning } from "./index";
import type { Form } from "./useForm";

const words = t.newRun;
const OTHER = "*"; // no model has it for an id

interface Props {
  form: Form;
  beginning: Beginning;
}

export function Basics({ form, beginning }: Props) {
  const { draft, put, faults } = form;
  const dataset = draft["dataset"] ?? "";
  const known = beginning.datasets.find((one) => one.id === dataset);
  return (
    <Card title={words.basics}>
      <CopyFrom from={draft["from"] ?? ""} />
      <Model form={form} models={beginning.models} />
      <Field label={words.dataset} error={faults.by["dataset"] ?? (known || !dataset ? undefined : words.gone)} hint={known && <>{chosenBy(known).note} · <Link to={`/datasets/${dataset}?model=${draft["model"] ?? ""}`}>{t.datasets.look}</Link></>}>
        {(its) => <Picker {...its} choices={beginning.datasets.map(chosenBy)} value={dataset} onPick={(id) => put("dataset", id)} placeholder={words.choose} />}
      </Field>
      <Field label={words.name} optional hint={words.nameHint} error={faults.by["name"]}>
        {(its) => <input {...its} value={draft["name"] ?? ""} maxLength={120} autocomplete="off" dir="auto" onInput={(event) => put("name", event.currentTarget.value)} />}
      </Field>
    </Card>
  );
}

function chosenBy(one: Dataset): Choice {
  return { value: one.id, label: one.name, note: words.row(t.datasets.form[one.format] ?? one.format, one.rows, age(one.created_at)) };
}

function Model({ form, models }: { form: Form; models: readonly string[] }) {
  const model = form.draft["model"] ?? "";
  const [other, setOther] = useState(model !== "" && !models.includes(model));
  const chosen = (value: string): void => {
    setOther(value === OTHER);
    form.put("model", value === OTHER ? "" : value);
  };
  return (
    <Field label={words.model} error={form.faults.by["model"]} hint={other && words.modelHint}>
      {(its) => (
        <>
          <select {...its} value={other ? OTHER : model} onChange={(event) => chosen(event.currentTarget.value)}>
            <option value="">{words.choose}</option>
            {models.map((one) => <option key={one} value={one}>{one}</option>)}
            <option value={OTHER}>{words.modelOther}</option>
          </select>
          {other && <input aria-label={words.modelOther} placeholder="org/name" value={model} maxLength={256} autocomplete="off" spellcheck={false} onInput={(event) => form.put("model", event.currentTarget.value)} />}
        </>
      )}
    </Field>
  );
}

/** What ran before may be the beginning of what shall run. */
function CopyFrom({ from }: { from: string }) {
  const jobs = useLoad((signal) => api.get("/jobs", { query: { kind: "train", limit: 200 }, signal }), []);
  if (!jobs.value || jobs.value.items.length === 0) return null;
  const choices = [{ value: "", label: words.fromNone }, ...jobs.value.items.map(runChoice)];
  return (
    <Field label={words.from}>
      {(its) => <Picker {...its} choices={choices} value={from} accept={runById} onPick={(id) => go(id ? `/new?from=${id}` : "/new")} />}
    </Field>
  );
}
