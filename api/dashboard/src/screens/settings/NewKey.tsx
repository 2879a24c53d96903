import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { asProblem, type ApiError } from "../../api/problem";
import { session } from "../../shell/session";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";

const words = t.settings.keys;
const SCOPES = ["read", "write", "admin", "operator"] as const;
type Scope = (typeof SCOPES)[number];
const DAY_MS = 86_400_000;
const MOST_DAYS = 3650;

interface Props {
  open: boolean;
  onClose: () => void;
  onMade: (key: string) => void;
}

export function NewKey({ open, onClose, onMade }: Props) {
  return <Dialog open={open} title={words.newTitle} onClose={onClose} firm><Form onMade={onMade} onClose={onClose} /></Dialog>;
}

function Form({ onMade, onClose }: Omit<Props, "open">) {
  const signed = useStore(session);
  const held = signed.state === "in" ? signed.who.scopes : [];
  const [name, setName] = useState("");
  const [scope, setScope] = useState<Scope>("write");
  const [days, setDays] = useState("");
  const [problem, setProblem] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const missing = name.trim() === "";
  const endless = Number(days) > MOST_DAYS;

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (missing || endless) return setTried(true);
    setBusy(true);
    setProblem(undefined);
    const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null;
    try {
      onMade((await api.post("/keys", { body: { name, scopes: [scope], expires_at } })).key);
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      setBusy(false);
    }
  };
  const placed = problem?.at("/name") ?? problem?.at("/expires_at");
  return (
    <form class="stack" onSubmit={(event) => void submit(event)} noValidate>
      <Field label={words.name} hint={words.nameHint} error={problem?.at("/name")?.message ?? (tried && missing ? words.nameless : undefined)}>
        {(its) => <input {...its} autofocus required maxLength={120} value={name} onInput={(event) => setName(event.currentTarget.value)} />}
      </Field>
      <fieldset class="settings-choices">
        <legend>{words.scopes}</legend>
        {SCOPES.filter((one) => one !== "operator" || held.includes("operator")).map((one) => (
          <label key={one} class="check">
            <input type="radio" name="scope" checked={scope === one} onChange={() => setScope(one)} />
            <span><b>{one}</b> <span class="soft">{words.scope[one]}</span></span>
          </label>
        ))}
      </fieldset>
      <Field label={words.days} optional hint={words.daysHint} error={problem?.at("/expires_at")?.message ?? (tried && endless ? words.endless(MOST_DAYS) : undefined)}>
        {(its) => <input {...its} type="number" min="1" max={MOST_DAYS} value={days} onInput={(event) => setDays(event.currentTarget.value)} />}
      </Field>
      {problem && !placed && <p class="notice bad" role="alert">{problem.message}</p>}
      <div class="actions">
        <Button onClick={onClose}>{t.cancel}</Button>
        <Button kind="primary" type="submit" busy={busy}>{words.make}</Button>
      </div>
    </form>
  );
}
