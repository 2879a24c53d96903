import { useState } from "preact/hooks";
import { api, send } from "../../api/client";
import { keep } from "../../api/download";
import { useLoad } from "../../api/load";
import type { SweepDetail } from "../../api/types";
import { duration, figure } from "../../format";
import { t } from "../../texts";
import { Alpha, Badge, StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { Link } from "../../ui/Link";
import { Card, Page } from "../../ui/Page";
import { Progress } from "../../ui/Progress";
import { Empty, Shown } from "../../ui/States";
import { Clip } from "../../ui/Text";
import { toastProblem } from "../../ui/toast";
import { AlphaChart } from "./AlphaChart";
import { Children } from "./Children";
import { Curves } from "./Curves";
import { Doings } from "./Doings";
import { Evaluations } from "./Evaluations";
import { Verdict } from "./Verdict";
import { endedOf, isOver, jobsOf, nameOf, type Result } from "./words";

const words = t.series;
const LOOK_S = 4;
const MOST_COMPARED = 6;

/** One series: what it comes to, what each of its runs has come to, and what it took. */
export function One({ id }: { id: string }) {
  const sweep = useLoad((signal) => api.get("/sweeps/{sweep_id}", { path: { sweep_id: id }, signal }), [id], (told) => (isOver(told) ? undefined : LOOK_S));
  return (
    <Page title={sweep.value ? nameOf(sweep.value) : words.one} actions={sweep.value && <Doings sweep={sweep.value} again={sweep.again} />}>
      {sweep.problem?.status === 404
        ? <Empty title={words.goneTitle} text={t.gone}><Link class="button" to="/series">{words.all}</Link></Empty>
        : <Shown of={sweep}>{(one) => <Told sweep={one} />}</Shown>}
    </Page>
  );
}

function Told({ sweep }: { sweep: SweepDetail }) {
  const results: readonly Result[] = sweep.results;
  return (
    <>
      <About sweep={sweep} />
      <div class="series-top">
        <Verdict sweep={sweep} />
        <Card title={words.alphaTitle}>
          <AlphaChart results={results} recommended={sweep.verdict.recommended_alpha} />
        </Card>
      </div>
      <Curves sweep={sweep.id} results={results} />
      <Card title={words.runs} actions={<Link to={`/compare?runs=${compared(sweep).join()}`} class="button">{words.compare}</Link>}>
        <Children results={results} />
      </Card>
      <Evaluations results={results} />
    </>
  );
}

function About({ sweep }: { sweep: SweepDetail }) {
  return (
    <div class="series-about">
      <p class="actions">
        <StatusBadge status={sweep.status} />
        {sweep.strategy === "halving" && <Badge title={words.halvingSays}>{words.halving}</Badge>}
        {sweep.alpha.map((alpha) => <Alpha key={alpha} value={alpha} />)}
        <span class="soft">{words.seedsNamed(sweep.seed.length)}</span>
        <Clip text={String(sweep.job["model"] ?? "")} />
      </p>
      <p class="soft">
        {words.endedOf(endedOf(sweep), jobsOf(sweep))} · {words.took(figure(sweep.cost.runs, 3), duration(sweep.cost.seconds))}
        {sweep.cost.saved_runs ? ` · ${words.saved(figure(sweep.cost.saved_runs, 3))}` : ""}
      </p>
      {!isOver(sweep) && <Progress value={sweep.cost.runs} of={sweep.cost.grid_runs || 1} label={words.progress} />}
      {isOver(sweep) && <Report id={sweep.id} />}
    </div>
  );
}

/** Fetched, for a link can't carry the header by which an operator names a project. */
function Report({ id }: { id: string }) {
  const [busy, setBusy] = useState(false);
  const fetched = async (): Promise<void> => {
    setBusy(true);
    try {
      keep(await (await send(`/sweeps/${id}/report`)).blob(), `${id}.html`);
    } catch (thrown) {
      toastProblem(thrown);
    } finally {
      setBusy(false);
    }
  };
  return <p><Button busy={busy} onClick={() => void fetched()}><Icon name="download" />{words.report}</Button></p>;
}

/** The control and each alpha once, with the first seed: what fits on one axis. */
function compared(sweep: SweepDetail): string[] {
  const seed = sweep.seed[0];
  return sweep.results.filter((one) => one.seed === seed).sort((a, b) => a.alpha - b.alpha).slice(0, MOST_COMPARED).map((one) => one.job);
}
