import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { asProblem, type ApiError } from "../../api/problem";
import type { EvaluationSpec, JobDetail } from "../../api/types";
import { t } from "../../texts";
import { checkpointName } from "../../measures";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { toast } from "../../ui/toast";
import { stepsOf } from "./Files";

const words = t.run.evaluations.ask;
const KINDS = ["loss", "overlap", "diversity", "judge"] as const;
type Kind = (typeof KINDS)[number];
const USUAL_PROMPTS = 128;

/** Ask for an evaluation: what is measured, and of which weights. The rest is as the service has it by default. */
export function Evaluate({ job, onMade }: { job: JobDetail; onMade: () => void }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button onClick={() => setOpen(true)}>{words.button}</Button>
      <Dialog open={open} title={words.title} onClose={() => setOpen(false)}>
        <Form job={job} onClose={() => setOpen(false)} onMade={onMade} />
      </Dialog>
    </>
  );
}

interface Draft {
  kinds: readonly Kind[];
  checkpoint: string;
  base: boolean;
  prompts: string;
  endpoint: string;
  model: string;
  secret: string;
}

const NEW: Draft = { kinds: ["loss", "overlap", "diversity"], checkpoint: "last", base: true, prompts: String(USUAL_PROMPTS), endpoint: "", model: "", secret: "" };

function Form({ job, onClose, onMade }: { job: JobDetail; onClose: () => void; onMade: () => void }) {
  const [draft, setDraft] = useState(NEW);
  const [problem, setProblem] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const put = (change: Partial<Draft>): void => setDraft((before) => ({ ...before, ...change }));
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    try {
      await api.post("/jobs/{job_id}/evaluations", { path: { job_id: job.id }, body: bodyOf(draft) });
      toast(words.queued);
      onMade();
      onClose();
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      setBusy(false);
    }
  };
  const judged = draft.kinds.includes("judge");
  const steps = stepsOf(job.artifacts ?? []);
  const beside = ["/judge/endpoint", "/judge/model", "/judge/key/secret", "/prompts/most", "/overlap/prompts"].some((one) => problem?.at(one));
  return (
    <form class="stack" onSubmit={(event) => void submit(event)}>
      <p class="soft">{words.about}</p>
      <fieldset class="run-kinds">
        <legend>{words.kinds}</legend>
        {KINDS.map((one) => (
          <label key={one} class="check">
            <input type="checkbox" checked={draft.kinds.includes(one)}
              onChange={(event) => put({ kinds: KINDS.filter((each) => (each === one ? event.currentTarget.checked : draft.kinds.includes(each))) })} />
            {words.kind[one]}
          </label>
        ))}
      </fieldset>
      {judged && <Judge draft={draft} put={put} problem={problem} />}
      <Field label={words.checkpoint}>
        {(its) => (
          <select {...its} value={draft.checkpoint} onChange={(event) => put({ checkpoint: event.currentTarget.value })}>
            {["last", "best", "base"].map((one) => <option key={one} value={one}>{checkpointName(one)}</option>)}
            {steps.map((one) => <option key={one} value={one}>{checkpointName(one)}</option>)}
          </select>
        )}
      </Field>
      {draft.kinds.some((one) => one !== "loss") && (
        <Field label={words.prompts} error={(problem?.at("/prompts/most") ?? problem?.at("/overlap/prompts"))?.message}>
          {(its) => <input {...its} type="number" required min={1} max={100_000} value={draft.prompts} onInput={(event) => put({ prompts: event.currentTarget.value })} />}
        </Field>
      )}
      <label class="check"><input type="checkbox" checked={draft.base} onChange={(event) => put({ base: event.currentTarget.checked })} />{words.base}</label>
      {problem && !beside && <p class="notice bad" role="alert">{problem.message} {problem.faults.map((one) => one.message).join(" ")}</p>}
      <div class="actions">
        <Button onClick={onClose}>{t.cancel}</Button>
        <Button kind="primary" type="submit" busy={busy} disabled={draft.kinds.length === 0}>{words.submit}</Button>
      </div>
    </form>
  );
}

function Judge({ draft, put, problem }: { draft: Draft; put: (change: Partial<Draft>) => void; problem: ApiError | undefined }) {
  return (
    <>
      <Field label={words.endpoint} hint={words.endpointHint} error={problem?.at("/judge/endpoint")?.message}>
        {(its) => <input {...its} type="url" required maxLength={2048} placeholder="https://" value={draft.endpoint} onInput={(event) => put({ endpoint: event.currentTarget.value })} />}
      </Field>
      <Field label={words.model} error={problem?.at("/judge/model")?.message}>
        {(its) => <input {...its} required maxLength={256} value={draft.model} onInput={(event) => put({ model: event.currentTarget.value })} />}
      </Field>
      <Field label={words.secret} optional error={problem?.at("/judge/key/secret")?.message}>
        {(its) => <input {...its} maxLength={64} value={draft.secret} onInput={(event) => put({ secret: event.currentTarget.value })} />}
      </Field>
    </>
  );
}

/** Options of what is not measured would be refused. */
function bodyOf({ kinds, checkpoint, base, prompts, endpoint, model, secret }: Draft): EvaluationSpec {
  const most = Number(prompts);
  const step = /^[0-9]+$/.test(checkpoint);
  return {
    kinds: [...kinds],
    checkpoint: step ? Number(checkpoint) : checkpoint,
    compare_base: base,
    ...(kinds.includes("overlap") ? { overlap: { prompts: most } } : {}),
    ...(kinds.includes("diversity") || kinds.includes("judge") ? { prompts: { most } } : {}),
    ...(kinds.includes("judge") ? { judge: { endpoint, model, ...(secret ? { key: { secret } } : {}) } } : {}),
  } as EvaluationSpec;
}
