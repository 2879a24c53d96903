import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Dataset } from "../../api/types";
import { bytes, whole } from "../../format";
import { go } from "../../router";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Link } from "../../ui/Link";
import { Card, Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Ago, Clip, Copy } from "../../ui/Text";
import { toastProblem } from "../../ui/toast";
import { Kept, useKept } from "./Kept";
import { Lens, misfitOf, useLens } from "./Lens";
import { Lengths } from "./Lengths";
import { Noise } from "./Noise";
import { Preview } from "./Preview";
import { removed } from "./remove";

const words = t.datasets;

/** One dataset: what it holds, how long its rows are, what alpha does to them, and the rows themselves. */
export function One({ id }: { id: string }) {
  const dataset = useLoad((signal) => api.get("/datasets/{dataset_id}", { path: { dataset_id: id }, signal }), [id]);
  const remove = (one: Dataset): void => void removed(one).then((gone) => gone && go("/datasets")).catch(toastProblem);
  const actions = dataset.value && (
    <>
      <Link class="button primary" to={`/new?dataset=${id}`}>{words.run}</Link>
      <Button onClick={() => remove(dataset.value as Dataset)}>{words.remove}</Button>
    </>
  );
  return (
    <Page title={dataset.value?.name ?? words.one} actions={actions}>
      {dataset.problem?.status === 404
        ? <Empty title={words.goneTitle} text={t.gone}><Link class="button" to="/datasets">{words.all}</Link></Empty>
        : <Shown of={dataset}>{(one) => <><Facts of={one} /><Seen id={id} /></>}</Shown>}
    </Page>
  );
}

function Facts({ of: one }: { of: Dataset }) {
  const told = Object.entries(one.stats as Record<string, unknown>)
    .filter(([name, count]) => name in words.facts.stats && (count !== 0 || !words.facts.seldom.includes(name)));
  const warnings = one.warnings as { code: string; count: number; msg: string }[];
  return (
    <Card title={words.facts.title}>
      <dl class="datasets-facts">
        <div><dt>{words.facts.rows}</dt><dd>{whole(one.rows)}</dd></div>
        <div><dt>{words.format}</dt><dd><Badge>{words.form[one.format] ?? one.format}</Badge></dd></div>
        <div><dt>{words.size}</dt><dd>{bytes(one.bytes)}</dd></div>
        <div><dt>{words.uploaded}</dt><dd><Ago time={one.created_at} /></dd></div>
        {told.map(([name, count]) => <div key={name}><dt>{words.facts.stats[name]}</dt><dd>{whole(count as number)}</dd></div>)}
        <div class="datasets-sha"><dt>{words.facts.sha}</dt><dd><Clip mono text={one.sha256} /><Copy text={one.sha256} /></dd></div>
      </dl>
      {warnings.map((warning) => <p key={warning.code} class="notice warn">{words.facts.warned(warning.code, warning.count, warning.msg)}</p>)}
    </Card>
  );
}

/** What depends on a model: its tokenizer, its template, its embeddings. */
function Seen({ id }: { id: string }) {
  const models = useLoad((signal) => api.get("/models", { signal }), []);
  return (
    <Shown of={models}>
      {({ items }) => items.length > 0
        ? <Through id={id} models={items.map((one) => one.id)} />
        : <Empty title={words.lens.noModelTitle} text={words.lens.noModel} />}
    </Shown>
  );
}

function Through({ id, models }: { id: string; models: readonly string[] }) {
  const { asked, steady } = useLens(models);
  const path = { dataset_id: id };
  const on = [id, ...Object.values(steady)];
  const tokens = useKept(useLoad((signal) => api.get("/datasets/{dataset_id}/tokens", { path, query: steady, signal }), on));
  const misfit = misfitOf(tokens.problem);
  return (
    <>
      <Lens models={models} asked={asked} problem={tokens.problem} />
      <div class="datasets-pair">
        <Card title={words.lengths.title}><Kept of={tokens} misfit={misfit}>{(told) => <Lengths of={told} />}</Kept></Card>
        <Card title={words.noise.title}><Kept of={tokens} misfit={misfit}>{(told) => <Noise of={told} />}</Kept></Card>
      </div>
      <Preview id={id} asked={steady} />
    </>
  );
}
