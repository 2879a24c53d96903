import { useMemo } from "preact/hooks";
import { remembered, useStore } from "../../store";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Page";
import { Copy } from "../../ui/Text";
import { code, FORMS } from "./code";
import { requestOf } from "./draft";
import type { Form } from "./useForm";

const words = t.newRun.code;
const chosen = remembered("neftune.code", "curl");

/** The same request for a script: what the button sends, ready to be copied. */
export function Code({ form }: { form: Form }) {
  const kept = useStore(chosen);
  const shown = FORMS.find((one) => one === kept) ?? "curl";
  const request = requestOf(form.draft);
  const text = useMemo(() => code(shown, request, location.origin), [shown, JSON.stringify(request)]);
  return (
    <Card title={words.title} actions={<Copy text={text} />}>
      <div class="actions" role="group" aria-label={words.title}>
        {FORMS.map((one) => <Button key={one} pressed={one === shown} onClick={() => chosen.set(one)}>{words[one]}</Button>)}
      </div>
      <p class="soft">{words.before} {words.needs[shown] && <code>{words.needs[shown]}</code>}</p>
      {shown === "sdk" && request.to === "/sweeps" && <p class="notice">{words.series}</p>}
      <pre class="new-run-code" tabIndex={0} aria-label={words[shown]}>{text}</pre>
    </Card>
  );
}
