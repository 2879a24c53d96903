import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Job, Worker } from "../../api/types";
import { bytes, duration } from "../../format";
import { runName } from "../../naming";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Link } from "../../ui/Link";
import { Card } from "../../ui/Page";
import { Progress } from "../../ui/Progress";
import { Shown } from "../../ui/States";
import { Clip } from "../../ui/Text";

const words = t.runs.workers;

/** The processes that train and answer: whether they live, on what, and what they do. */
export function Workers({ running }: { running: readonly Job[] }) {
  const workers = useLoad((signal) => api.get("/workers", { signal }), [], 5);
  return (
    <Card class="runs-machines" title={words.title}>
      <Shown of={workers}>
        {({ items }) => items.length === 0
          ? <p class="notice warn">{words.none}</p>
          : <ul class="runs-workers">{items.map((one) => <One key={one.id} worker={one} job={running.find((job) => job.id === one.job)} />)}</ul>}
      </Shown>
    </Card>
  );
}

function One({ worker, job }: { worker: Worker; job: Job | undefined }) {
  return (
    <li>
      <p class="runs-worker-head"><b><Clip text={worker.name} /></b> {worker.alive
        ? <Badge tone="good">{words.heard(duration(worker.heartbeat_age_s))}</Badge>
        : <Badge tone="bad">{words.silent(duration(worker.heartbeat_age_s))}</Badge>}</p>
      <p class="soft">{words.kind[worker.kind]} · <Clip text={worker.device} /></p>
      {worker.gpus.map((gpu, index) => (
        <div key={index}>
          <span class="runs-gpu soft"><Clip text={gpu.name} /><span>{words.memory(bytes(gpu.memory_used), bytes(gpu.memory_total))}</span></span>
          <Progress label={words.memoryOf(gpu.name)} value={gpu.memory_used} of={gpu.memory_total || 1} />
          <p class="faint">{[gpu.busy !== null && words.busy(gpu.busy), gpu.temperature !== null && words.heat(gpu.temperature)].filter(Boolean).join(" · ")}</p>
        </div>
      ))}
      <p>{worker.job ? <Link to={`/runs/${worker.job}`}><Clip text={job ? runName(job) : words.runs} /></Link> : worker.alive && <span class="faint">{words.idle}</span>}</p>
    </li>
  );
}
