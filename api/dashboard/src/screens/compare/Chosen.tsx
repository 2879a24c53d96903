import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { useRest } from "../../api/rest";
import { aboutRun, runById, runChoice, runName, shortName } from "../../naming";
import { t } from "../../texts";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { Link } from "../../ui/Link";
import { Shown } from "../../ui/States";
import { Clip } from "../../ui/Text";
import { Picker } from "../../ui/Picker";
import { MOST, type Compared } from "./runs";

const words = t.compare;
const PAGE = 200;

/** Add a run to those that are compared, by its name, alpha, tag or id. */
export function Choose({ chosen, onChange }: { chosen: readonly string[]; onChange: (ids: string[]) => void }) {
  const query = { kind: "train", limit: PAGE } as const;
  const jobs = useLoad((signal) => api.get("/jobs", { query, signal }), []);
  const rest = useRest(jobs, (cursor) => api.get("/jobs", { query: { ...query, cursor } }));
  const choices = rest.items.filter((job) => !chosen.includes(job.id)).map(runChoice);
  if (chosen.length >= MOST) return <p class="faint">{words.full(MOST)}</p>;
  return (
    <Shown of={jobs}>
      {() => (
        <div class="compare-choose">
          <Field label={words.add} hint={words.addHint}>
            {(its) => <Picker {...its} choices={choices} accept={runById} placeholder={words.search} none={rest.more && words.noneYet} onPick={(id) => !chosen.includes(id) && onChange([...chosen, id])} />}
          </Field>
          {rest.more && <Button kind="quiet" busy={rest.busy} onClick={rest.more}>{words.older}</Button>}
        </div>
      )}
    </Shown>
  );
}

/** Who is compared: the letters that stand for them in all that follows. */
export function Chosen({ runs, onDrop }: { runs: readonly Compared[]; onDrop: (id: string) => void }) {
  return (
    <ul class="compare-chosen" aria-label={words.chosen}>
      {runs.map((run, place) => (
        <li key={run.id}>
          <span class={`compare-letter series-${place + 1}`}>{run.letter}</span>
          {run.job ? (
            <Link to={`/runs/${run.id}`} class="compare-run" title={runName(run.job)}>
              <span class="clip">{shortName(run.job)}</span><span class="sr-only"> · </span><span class="faint">{aboutRun(run.job)}</span>
            </Link>
          ) : <span class="compare-gone"><Clip mono text={run.id} /> <span class="error">{run.problem?.message}</span></span>}
          {run.job && <StatusBadge status={run.job.status} />}
          <Button kind="quiet" label={words.drop(run.letter)} onClick={() => onDrop(run.id)}><Icon name="cross" /></Button>
        </li>
      ))}
    </ul>
  );
}
