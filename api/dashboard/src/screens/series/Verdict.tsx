import type { SweepDetail } from "../../api/types";
import { figure } from "../../format";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import { Link } from "../../ui/Link";
import { Table, type Column } from "../../ui/Table";
import { interval, signed } from "./words";

const words = t.series.verdict;
type Told = SweepDetail["verdict"];
type Line = Told["alphas"][number];

const COLUMNS: readonly Column<Line>[] = [
  { head: t.series.alpha, cell: (one) => one.alpha, number: true },
  { head: words.toLast, cell: (one) => signed(one.to_last?.mean), number: true },
  { head: words.toLastInterval, cell: (one) => interval(one.to_last?.interval), number: true },
  { head: words.toBest, cell: (one) => signed(one.to_best?.mean), number: true },
  { head: words.toBestInterval, cell: (one) => interval(one.to_best?.interval), number: true, wide: true },
  { head: words.pairs, cell: (one) => one.to_last ? words.pairsOf(one.to_last.better, one.to_last.pairs) : t.none, number: true },
  { head: words.p, cell: (one) => figure(one.p_adjusted, 2), number: true, wide: true },
];

/** What the series comes to, in words. That it can't be told is an answer like the others, and looks like them. */
export function Verdict({ sweep }: { sweep: SweepDetail }) {
  const { verdict } = sweep;
  const known = verdict.alphas.some((one) => one.to_last);
  return (
    <Card class="series-verdict" title={headline(verdict)}>
      {verdict.reasons.map((reason) => <p key={reason}>{words.reason[reason] ?? verdict.why}</p>)}
      {verdict.outcome === "recommended" && <Recommended verdict={verdict} />}
      {verdict.outcome === "inconclusive" && !verdict.reasons.includes("unfinished") && <p class="soft">{words.stillAnAnswer}</p>}
      {known && (
        <>
          <Table label={words.differences} columns={COLUMNS} rows={verdict.alphas} id={(one) => String(one.alpha)} />
          <p class="faint">{words.reading(Math.round(verdict.confidence * 100))}</p>
        </>
      )}
      <Talk sweep={sweep} />
    </Card>
  );
}

function headline(verdict: Told): string {
  if (verdict.outcome === "recommended") return words.recommended(verdict.recommended_alpha ?? 0);
  if (verdict.reasons.includes("unfinished")) return words.unfinished;
  return verdict.outcome === "not_recommended" ? words.notRecommended : words.inconclusive;
}

function Recommended({ verdict }: { verdict: Told }) {
  const line = verdict.alphas.find((one) => one.alpha === verdict.recommended_alpha);
  const percent = Math.round(verdict.confidence * 100);
  return <p>{words.recommendedSays(signed(line?.to_last?.mean), interval(verdict.interval), percent, line?.to_last?.pairs ?? 0)}</p>;
}

/** Base, control and the recommended alpha, else the highest that has ended. */
function Talk({ sweep }: { sweep: SweepDetail }) {
  const done = sweep.results.filter((one) => one.status === "succeeded");
  const control = done.find((one) => one.alpha === 0);
  const wanted = sweep.verdict.recommended_alpha ?? Math.max(...done.map((one) => one.alpha));
  const noisy = done.find((one) => one.alpha === wanted && one.alpha > 0 && (!control || one.seed === control.seed));
  const models = [String(sweep.job["model"]), control?.job, noisy?.job].filter((one) => one !== undefined);
  if (models.length < 2) return null;
  return <p><Link to={`/playground?models=${models.map(encodeURIComponent).join()}`} class="button">{words.talk(noisy?.alpha)}</Link></p>;
}
