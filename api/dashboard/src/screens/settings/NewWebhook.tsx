import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { asProblem, type ApiError } from "../../api/problem";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";

const words = t.settings.webhooks;
const ENDS = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled", "fine_tuning.job.paused"] as const;
type End = (typeof ENDS)[number];

interface Props {
  open: boolean;
  onClose: () => void;
  onMade: (secret: string) => void;
}

export function NewWebhook({ open, onClose, onMade }: Props) {
  return <Dialog open={open} title={words.newTitle} onClose={onClose} firm><Form onMade={onMade} onClose={onClose} /></Dialog>;
}

function Form({ onMade, onClose }: Omit<Props, "open">) {
  const [url, setUrl] = useState("");
  const [events, setEvents] = useState<readonly End[]>(ENDS.slice(0, 3));
  const [problem, setProblem] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const missing = url.trim() === "";
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (missing) return setTried(true);
    setBusy(true);
    setProblem(undefined);
    try {
      onMade((await api.post("/webhooks", { body: { url, events: [...events] } })).secret);
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      setBusy(false);
    }
  };
  const turn = (event: End, on: boolean): void => setEvents(ENDS.filter((one) => (one === event ? on : events.includes(one))));
  const placed = problem?.at("/url");
  return (
    <form class="stack" onSubmit={(event) => void submit(event)} noValidate>
      <Field label={words.url} hint={words.urlHint} error={placed?.message ?? (tried && missing ? words.urlless : undefined)}>
        {(its) => <input {...its} autofocus type="url" required maxLength={2048} value={url} placeholder="https://" onInput={(event) => setUrl(event.currentTarget.value)} />}
      </Field>
      <fieldset class="settings-choices">
        <legend>{words.events}</legend>
        {ENDS.map((one) => (
          <label key={one} class="check">
            <input type="checkbox" checked={events.includes(one)} onChange={(event) => turn(one, event.currentTarget.checked)} />
            {words.event[one]}
          </label>
        ))}
      </fieldset>
      {problem && !placed && <p class="notice bad" role="alert">{problem.message}</p>}
      <div class="actions">
        <Button onClick={onClose}>{t.cancel}</Button>
        <Button kind="primary" type="submit" busy={busy} disabled={events.length === 0}>{words.make}</Button>
      </div>
    </form>
  );
}
