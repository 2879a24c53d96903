import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { colourOf, dashOf, Together, type Member } from "../../chart";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import { Shown } from "../../ui/States";
import { ENDED, type Result } from "./words";

const words = t.series;
const MANY = 12; // lines that can still be told apart
const MOST = 200;

/** The runs of a series on one chart: a colour for each alpha, a dash for each seed. */
export function Curves({ sweep, results }: { sweep: string; results: readonly Result[] }) {
  const jobs = useLoad((signal) => api.get("/jobs", { query: { sweep, kind: "train", limit: MOST }, signal }), [results.map((one) => one.job).join()]);
  const seeds = [...new Set(results.map((one) => one.seed))];
  const [asked, setSeed] = useQuery("seed", results.length > MANY ? String(seeds[0]) : "");
  const choice = seeds.length > 1 && (
    <label class="series-choice">{words.shownSeeds} <select value={asked} onChange={(event) => setSeed(event.currentTarget.value)}>
      <option value="">{words.allSeeds}</option>
      {seeds.map((seed) => <option key={seed} value={seed}>{seed}</option>)}
    </select></label>
  );
  return (
    <Card title={words.curves} actions={choice}>
      <Shown of={jobs}>
        {({ items }) => <Together key={asked} members={membersOf(results, new Map(items.map((job) => [job.id, job.last_seq])), asked)} />}
      </Shown>
    </Card>
  );
}

function membersOf(results: readonly Result[], lastSeqs: ReadonlyMap<string, number>, seed: string): Member[] {
  const alphas = [...new Set(results.map((one) => one.alpha))].sort((a, b) => a - b);
  const seeds = [...new Set(results.map((one) => one.seed))];
  const alone = seed !== "" || seeds.length === 1; // of each alpha one line: then dashes tell alphas apart, too
  const shown = results.filter((one) => seed === "" || String(one.seed) === seed).sort((a, b) => a.alpha - b.alpha || a.seed - b.seed);
  return shown.map((one) => ({
    id: one.job,
    last_seq: lastSeqs.get(one.job) ?? 0,
    ended: ENDED.includes(one.status),
    label: `${one.alpha === 0 ? words.control : `α ${one.alpha}`} · ${t.seedNamed(one.seed)}`,
    colour: colourOf(alphas.indexOf(one.alpha)),
    ...dashOf(alone ? alphas.indexOf(one.alpha) : seeds.indexOf(one.seed)),
  }));
}
