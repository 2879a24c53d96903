import { useState } from "preact/hooks";
import type { Job, Queue } from "../../api/types";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Link } from "../../ui/Link";
import { Ago, Clip } from "../../ui/Text";
import { Named } from "./Named";

const words = t.runs;
const FIRST = 8; // then the rest of a long series would only hide what has ended

/** The queue in its order: the place of each job among all that wait, what it is about, and why it waits. */
export function Waiting({ queue, jobs }: { queue: Queue; jobs: readonly Job[] }) {
  const [all, setAll] = useState(false);
  const known = new Map(jobs.map((job) => [job.id, job]));
  const shown = all ? queue.items : queue.items.slice(0, FIRST);
  const hidden = queue.queued - queue.items.length;
  return (
    <>
      <ol class="runs-list">
        {shown.map((one) => <Row key={one.job} item={one} job={known.get(one.job)} />)}
      </ol>
      {queue.items.length > FIRST && <p><Button expanded={all} onClick={() => setAll(!all)}>{all ? words.fewerWait : words.allWait(queue.items.length)}</Button></p>}
      {hidden > 0 && <p><Link to="/runs?status=queued">{words.moreWait(hidden)}</Link></p>}
    </>
  );
}

function Row({ item, job }: { item: Queue["items"][number]; job: Job | undefined }) {
  return (
    <li class="runs-row runs-waiting">
      <span class="runs-place" title={words.placeSays}>{words.place(item.position)}</span>
      {job ? <Named job={job} /> : (
        <span class="runs-name">
          <Link to={`/runs/${item.job}`}><Clip text={item.name ?? item.job} /></Link>
          <span class="runs-about faint"><Clip text={item.model} /></span>
        </span>
      )}
      <span class="runs-reason soft">{item.reason}{item.priority !== 0 && ` · ${words.priority(item.priority)}`}</span>
      <span class="runs-age faint"><Ago time={item.created_at} /></span>
    </li>
  );
}
