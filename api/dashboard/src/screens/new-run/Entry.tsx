import { useEffect, useRef } from "preact/hooks";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Advanced } from "./Advanced";
import { Basics } from "./Basics";
import { Code } from "./Code";
import { recipeOf, requestOf } from "./draft";
import type { Beginning } from "./index";
import { ReadOut } from "./ReadOut";
import { Recipe } from "./Recipe";
import { useForm, type Form } from "./useForm";

const words = t.newRun;

/** The form, with what it would take beside it. */
export function Entry({ beginning }: { beginning: Beginning }) {
  const form = useForm(beginning.draft);
  const box = useRef<HTMLFormElement>(null);
  const chosen = form.draft["dataset"];
  const gone = Boolean(chosen) && !beginning.datasets.some((one) => one.id === chosen); // its field says so
  useEffect(() => {
    if (!form.failed) return undefined;
    // When the part that it lies in has been opened.
    const timer = setTimeout(() => box.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus());
    return () => clearTimeout(timer);
  }, [form.failed]);
  const submit = (event: Event): void => {
    event.preventDefault();
    form.start();
  };
  return (
    <form ref={box} class="new-run" onSubmit={submit} noValidate>
      <div class="stack new-run-fields">
        {beginning.copied && <p class="notice good" role="status">{words.copied(beginning.copied)}</p>}
        {beginning.problem && <p class="notice bad" role="alert">{words.fromFailed} {beginning.problem.status === 404 ? words.fromGone : beginning.problem.message}</p>}
        <Basics form={form} beginning={beginning} />
        <Recipe form={form} />
        <Advanced form={form} />
      </div>
      <div class="new-run-beside">
        <div class="stack">
          <Start form={form} gone={gone} />
          <ReadOut form={form} />
        </div>
        <Code form={form} />
      </div>
    </form>
  );
}

function Start({ form, gone }: { form: Form; gone: boolean }) {
  const { problem, faults } = form;
  const request = requestOf(form.draft);
  const placed = gone || Object.keys(faults.by).length > 0;
  return (
    <div class="stack new-run-start">
      <Button kind="primary" type="submit" busy={form.starting}>
        {recipeOf(form.draft) === "series" ? words.startSeries(request.runs) : words.start}
      </Button>
      {problem && (!placed || faults.elsewhere.length > 0) && (
        <div class="notice bad" role="alert">
          <b>{words.elsewhere}</b> {problem.offline ? words.lost : problem.message}
          {faults.elsewhere.length > 0 && <ul>{faults.elsewhere.map((one) => <li key={one.pointer}>{one.pointer && <code>{one.pointer}</code>} {one.message}</li>)}</ul>}
        </div>
      )}
      {form.unanswered && <p class="notice warn" role="status">{words.waiting}</p>}
    </div>
  );
}
