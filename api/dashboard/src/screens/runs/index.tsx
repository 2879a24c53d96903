import { useEffect } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Link } from "../../ui/Link";
import { Card, Page } from "../../ui/Page";
import { Empty, Failed, Loading, Shown } from "../../ui/States";
import { Filters, useFilters } from "./Filters";
import { Listed } from "./Listed";
import { Running } from "./Running";
import "./runs.css";
import { Waiting } from "./Waiting";
import { Workers } from "./Workers";

const words = t.runs;

/** What runs, what waits and why, what has ended, and on which machines. */
export default function Runs() {
  const filters = useFilters();
  const [show] = useQuery("show");
  const now = show === "" && !filters.any;
  const queue = useLoad((signal) => api.get("/queue", { query: { limit: 200 }, signal }), [], 5);
  const running = useLoad((signal) => api.get("/jobs", { query: { status: "running", limit: 200 }, signal }), [], 5);
  const paused = useLoad((signal) => api.get("/jobs", { query: { status: "paused", limit: 200 }, signal }), [], 10);
  const queued = useLoad((signal) => api.get("/jobs", { query: { status: "queued", limit: 200 }, signal }), [], 15);
  const first = useLoad((signal) => api.get("/jobs", { query: { limit: 1 }, signal }), [], 10);
  const count = queue.value ? `${queue.value.queued} ${queue.value.running}` : "";
  useEffect(() => {
    if (count) [running, queued, first].forEach((one) => one.again()); // somebody began or ended: all lists shall tell the same
  }, [count]);
  const nothing = first.value?.items.length === 0 && count === "0 0";
  const again = (): void => [running, queue, queued, paused].forEach((one) => one.again());
  return (
    <Page title={words.title} actions={<Link to="/new" class="button primary">{words.make}</Link>}>
      {nothing
        ? <Empty title={words.emptyTitle} text={words.empty}><Link to="/new" class="button primary">{words.start}</Link></Empty>
        : <Filters />}
      <div class="runs-sides">
        {now && !nothing && (
          <div class="runs-now">
            {running.problem && !running.value ? <Failed problem={running.problem} again={running.again} /> : !running.value && <Loading />}
            {running.value && running.value.items.length > 0 && (
              <Card title={words.running(running.value.items.length)}><Shown of={running}>{({ items }) => <Running jobs={items} ended={again} />}</Shown></Card>
            )}
            {queue.value && queue.value.queued > 0 && (
              <Card title={words.waiting(queue.value.queued)}><Shown of={queue}>{(one) => <Waiting queue={one} jobs={queued.value?.items ?? []} />}</Shown></Card>
            )}
            {paused.value && paused.value.items.length > 0 && (
              <Card title={words.paused(paused.value.items.length)}><Listed jobs={paused.value.items} /></Card>
            )}
          </div>
        )}
        {(now || nothing) && <Workers running={running.value?.items ?? []} />}
        {!nothing && <Ended now={now} moved={count} />}
      </div>
    </Page>
  );
}

/** All that fits the filters, page after page as one scrolls; without a filter, what has ended. */
function Ended({ now, moved }: { now: boolean; moved: string }) {
  const { query, key } = useFilters();
  const asked = now ? { ...query, ended: true } : query;
  const page = useLoad((signal) => api.get("/jobs", { query: { ...asked, limit: 100 }, signal }), [key, now], 15);
  useEffect(() => {
    if (moved) page.again();
  }, [moved]);
  return (
    <Card title={now ? words.ended : words.found}>
      <Shown of={page}>
        {(first) => first.items.length === 0
          ? <p class="faint">{now ? words.noneEnded : words.noneFound}</p>
          : <Listed key={key} jobs={first.items} next={first.next} more={(cursor) => api.get("/jobs", { query: { ...asked, limit: 50, cursor } })} />}
      </Shown>
    </Card>
  );
}
