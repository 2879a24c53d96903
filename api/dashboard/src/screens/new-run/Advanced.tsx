import { useEffect, useState } from "preact/hooks";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { extraOf, recipeOf } from "./draft";
import { SECTIONS, type Field } from "./fields";
import { Part } from "./Part";
import type { Form } from "./useForm";

const words = t.newRun;

/** Everything that may be left alone, folded; a part opens by itself when something in it is wrong. */
export function Advanced({ form }: { form: Form }) {
  const extra = extraOf(form.draft);
  const series = recipeOf(form.draft) === "series";
  return (
    <Card title={words.advanced}>
      {Object.entries(SECTIONS).map(([name, fields]) => (
        <Section key={name} name={name} form={form} fields={series ? fields.filter((one) => one.at !== "training.seed") : fields} />
      ))}
      {Object.keys(extra).length > 0 && (
        <div><p class="soft">{words.kept}</p><pre>{JSON.stringify(extra, null, 2)}</pre></div>
      )}
    </Card>
  );
}

function Section({ name, fields, form }: { name: string; fields: readonly Field[]; form: Form }) {
  const set = fields.filter((field) => form.draft[field.at]).length;
  const wrong = fields.filter((field) => form.faults.by[field.at]).length;
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (wrong > 0) setOpen(true);
  }, [wrong]);
  return (
    <details class="new-run-section" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <b>{words.sections[name]}</b>
        {set > 0 && <Badge tone="busy">{words.set(set)}</Badge>}
        {wrong > 0 && <Badge tone="bad">{words.wrong(wrong)}</Badge>}
      </summary>
      {open && <div class="new-run-parts">{fields.map((field) => <Part key={field.at} of={field} form={form} />)}</div>}
    </details>
  );
}
