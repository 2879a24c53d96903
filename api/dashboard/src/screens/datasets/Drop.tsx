import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../../texts";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { Card } from "../../ui/Page";
import { add, FORMS, type Form } from "./uploads";

const words = t.datasets.upload;

/** Where files are dropped or chosen. While it is there the whole window takes them, so that none is opened by mistake. */
export function Drop({ first }: { first: boolean }) {
  const [form, setForm] = useState<Form>("auto");
  const over = useDropped((files) => add(files, form));
  const choose = useRef<HTMLInputElement>(null);
  const chosen = (): void => {
    add(choose.current?.files ?? [], form);
    if (choose.current) choose.current.value = ""; // the same file may be chosen again, mended
  };
  return (
    <Card title={words.title}>
      <div class={over ? "datasets-drop over" : "datasets-drop"}>
        <Icon name="upload" />
        <p>{words.drop} <label class="button primary">{words.choose}<input ref={choose} type="file" multiple class="sr-only" onChange={chosen} /></label></p>
        <p class="faint">{words.says}</p>
      </div>
      <details class="datasets-more" open={first}>
        <summary>{words.rowsLook}</summary>
        <dl class="datasets-looks">
          {FORMS.flatMap((one) => (one === "auto" ? [] : [<div key={one}><dt>{t.datasets.form[one]}</dt><dd><code>{words.looks[one]}</code></dd></div>]))}
        </dl>
        <Field label={words.form} hint={words.formHint}>
          {(its) => (
            <select {...its} value={form} onChange={(event) => setForm(event.currentTarget.value as Form)}>
              {FORMS.map((one) => <option key={one} value={one}>{t.datasets.form[one]}</option>)}
            </select>
          )}
        </Field>
      </details>
    </Card>
  );
}

/** Take files that are dropped anywhere in the window; tells whether some are held over it. */
function useDropped(take: (files: FileList) => void): boolean {
  const [over, setOver] = useState(false);
  const taking = useRef(take);
  taking.current = take;
  useLayoutEffect(() => { // as soon as it is seen: what is dropped before then, the browser would open
    const given = new AbortController();
    const listen = (name: "dragover" | "dragleave" | "drop", act: (event: DragEvent) => void): void =>
      addEventListener(name, act, { signal: given.signal });
    listen("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    });
    listen("dragleave", (event) => event.relatedTarget === null && setOver(false));
    listen("drop", (event) => {
      setOver(false);
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      taking.current(event.dataTransfer.files);
    });
    return () => given.abort();
  }, []);
  return over;
}
