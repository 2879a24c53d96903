import { t } from "../../texts";
import { Field } from "../../ui/Field";
import type { Field as One } from "./fields";
import type { Form } from "./useForm";

const words = t.newRun;

/** One field that may be left alone: what the service would take for it stands in it, faintly. */
export function Part({ of: field, form }: { of: One; form: Form }) {
  const [label, hint] = words.fields[field.at] ?? [field.at];
  const usual = resolved(form.rehearsal?.spec, field.at);
  const typed = form.draft[field.at] ?? "";
  const told = usual === undefined ? words.usualUnknown : words.usual(usual);
  const put = (event: { currentTarget: { value: string } }): void => form.put(field.at, event.currentTarget.value);
  return (
    <Field label={label} hint={hint} error={form.faults.by[field.at]}>
      {(its) => field.options
        ? (
          <select {...its} value={typed} onChange={put}>
            <option value="">{typed === "" ? told : words.usualUnknown}</option>
            {field.options.map((one) => <option key={one} value={one}>{spoken(one)}</option>)}
          </select>
        )
        : <input {...its} value={typed} maxLength={2048} placeholder={typed === "" ? told : ""} onInput={put} autocomplete="off" spellcheck={false} {...(field.number ? { inputMode: "decimal" as const } : {})} />}
    </Field>
  );
}

function spoken(option: string): string {
  if (option === "true") return words.yes;
  return option === "false" ? words.no : option;
}

/** What the last rehearsal said that a field would be. */
function resolved(spec: Readonly<Record<string, unknown>> | undefined, at: string): string | undefined {
  let value: unknown = spec;
  for (const name of at.split(".")) {
    if (value === undefined || typeof value !== "object") return undefined;
    value = value === null ? null : (value as Record<string, unknown>)[name];
  }
  if (value === undefined) return undefined;
  if (value === null || (Array.isArray(value) && value.length === 0)) return words.nothing;
  return spoken(Array.isArray(value) ? value.join(", ") : String(value));
}
