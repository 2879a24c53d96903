import type { Job } from "../../api/types";
import { seedOf } from "../../naming";
import { t } from "../../texts";
import { Alpha, Badge } from "../../ui/Badge";
import { Link } from "../../ui/Link";
import { Clip } from "../../ui/Text";

/** What a run is called and what it is about: as the first thing of its row. */
export function Named({ job }: { job: Job }) {
  const alpha = job.spec["alpha"];
  const model = job.spec["model"];
  const asked = job.options?.["name"]; // an evaluation is listed under its run's name and has one of its own
  const seed = job.sweep ? seedOf(job) : undefined; // by which runs of one series differ
  return (
    <span class="runs-name">
      <Link to={`/runs/${job.id}`}><Clip text={job.name ?? job.id} /></Link>
      <span class="runs-about">
        {job.kind === "train" ? typeof alpha === "number" && <Alpha value={alpha} /> : <Badge>{t.runs.kind[job.kind as "export"] ?? job.kind}</Badge>}
        {seed !== undefined && <Badge>{t.seedNamed(seed)}</Badge>}
        {typeof asked === "string" && <span><Clip text={asked} /></span>}
        {typeof model === "string" && <span class="faint"><Clip text={model} /></span>}
        {job.tags.slice(0, 4).map((tag) => <Badge key={tag}><Clip text={tag} /></Badge>)}
      </span>
    </span>
  );
}
