import { useEffect } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { useRest } from "../../api/rest";
import type { Dataset } from "../../api/types";
import { bytes, whole } from "../../format";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Link } from "../../ui/Link";
import { Page, toTop } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip } from "../../ui/Text";
import { toastProblem } from "../../ui/toast";
import { Drop } from "./Drop";
import { removed } from "./remove";
import { arrived, uploads } from "./uploads";
import { Uploads } from "./Uploads";

const words = t.datasets;
const LOOK_S = 30; // others upload too

/** What there is, and where more comes in. */
export function List() {
  const datasets = useLoad((signal) => api.get("/datasets", { signal }), [], LOOK_S);
  const rest = useRest(datasets, (cursor) => api.get("/datasets", { query: { cursor } }));
  const come = useStore(arrived);
  useEffect(() => {
    if (come > 0) datasets.again();
  }, [come]);
  const remove = async (one: Dataset): Promise<void> => {
    if (!(await removed(one))) return;
    toTop();
    datasets.again();
  };
  const columns: Column<Dataset>[] = [
    { head: words.name, cell: (one) => <Link to={`/datasets/${one.id}`}><Clip text={one.name} /></Link> },
    { head: words.format, cell: (one) => words.form[one.format] ?? one.format },
    { head: words.facts.rows, cell: (one) => whole(one.rows), number: true },
    { head: words.size, cell: (one) => bytes(one.bytes), number: true, wide: true },
    { head: words.uploaded, cell: (one) => <Ago time={one.created_at} />, wide: true },
    { head: words.actions, cell: (one) => (
      <Button kind="quiet" label={words.removeNamed(one.name)} onClick={() => void remove(one).catch(toastProblem)}>{words.remove}</Button>
    ), wide: true },
  ];
  return (
    <Page title={words.title}>
      <Drop first={datasets.value?.items.length === 0} />
      <Uploads />
      <Shown of={datasets}>
        {() => rest.items.length > 0
          ? <Table label={words.title} columns={columns} rows={rest.items} id={(one) => one.id} />
          : <Nothing />}
      </Shown>
      {rest.more && <Button onClick={rest.more} busy={rest.busy}>{t.more}</Button>}
    </Page>
  );
}

function Nothing() {
  const busy = useStore(uploads).some((one) => one.state === "sending");
  return busy ? null : <Empty title={words.emptyTitle} text={words.empty} />;
}
