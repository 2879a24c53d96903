import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { useRest } from "../../api/rest";
import type { Sweep } from "../../api/types";
import { figure } from "../../format";
import { t } from "../../texts";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Link } from "../../ui/Link";
import { Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago } from "../../ui/Text";
import { endedOf, jobsOf, nameOf } from "./words";

const words = t.series;
const LOOK_S = 10;

const COLUMNS: readonly Column<Sweep>[] = [
  { head: words.name, cell: (one) => <Link to={`/series/${one.id}`} class="clip series-name" title={one.id}>{nameOf(one)}</Link> },
  { head: words.state, cell: (one) => <StatusBadge status={one.status} /> },
  { head: words.alphas, cell: (one) => one.alpha.join(", ") },
  { head: words.seeds, cell: (one) => one.seed.length, number: true, wide: true },
  { head: words.ended, cell: (one) => words.endedOf(endedOf(one), jobsOf(one)), number: true },
  { head: words.costRuns, cell: (one) => figure(one.cost.runs, 3), number: true, wide: true },
  { head: words.made, cell: (one) => <Ago time={one.created_at} />, wide: true },
];

/** The project's series, the newest first. */
export function List() {
  const sweeps = useLoad((signal) => api.get("/sweeps", { signal }), [], LOOK_S);
  const rest = useRest(sweeps, (cursor) => api.get("/sweeps", { query: { cursor } }));
  return (
    <Page title={words.title} actions={<Link to="/new" class="button">{words.start}</Link>}>
      <Shown of={sweeps}>
        {() => rest.items.length === 0
          ? <Empty title={words.emptyTitle} text={words.empty}><Link to="/new" class="button primary">{words.start}</Link></Empty>
          : <Table label={words.title} columns={COLUMNS} rows={rest.items} id={(one) => one.id} />}
      </Shown>
      {rest.more && <Button onClick={rest.more} busy={rest.busy}>{t.more}</Button>}
    </Page>
  );
}
