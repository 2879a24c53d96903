import { colourOf, dashOf, Together, type Member } from "../../chart";
import { runName } from "../../naming";
import { setQuery, usePlace } from "../../router";
import { t } from "../../texts";
import { Link } from "../../ui/Link";
import { Card, Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Answers } from "./Answers";
import { Choose, Chosen } from "./Chosen";
import "./compare.css";
import { Figures } from "./Figures";
import { FEWEST, hasEnded, MOST, useRuns, type Compared, type Found } from "./runs";
import { Settings } from "./Settings";

const words = t.compare;

/** Two to six runs on one axis, and in what they differ. */
export default function Compare() {
  const asked = (usePlace().query.get("runs") ?? "").split(",").filter(Boolean);
  const ids = [...new Set(asked)].slice(0, MOST);
  const put = (chosen: readonly string[]): void => setQuery({ runs: chosen.join() });
  const runs = useRuns(ids);
  return (
    <Page title={words.title} actions={ids.length > 0 && <Talk ids={ids} />}>
      <Choose chosen={ids} onChange={put} />
      <Shown of={runs}>
        {(found) => (
          <>
            {found.length > 0 && <Chosen runs={found} onDrop={(id) => put(ids.filter((one) => one !== id))} />}
            {ids.length < FEWEST ? <Empty title={words.emptyTitle} text={ids.length === 0 ? words.empty : words.oneMore} /> : <Beside runs={found} />}
          </>
        )}
      </Shown>
    </Page>
  );
}

function Beside({ runs }: { runs: readonly Compared[] }) {
  const found = runs.filter((one): one is Found => one.job !== undefined);
  if (found.length === 0) return null;
  return (
    <>
      <Card title={words.curves}><Together members={found.map(memberOf)} /></Card>
      <Figures runs={found} />
      <Settings runs={found} />
      <Answers runs={found} />
    </>
  );
}

function memberOf({ id, letter, job }: Found): Member {
  const place = letter.charCodeAt(0) - 65;
  return { id, last_seq: job.last_seq, ended: hasEnded(job), label: `${letter} ${runName(job)}`, colour: colourOf(place), ...dashOf(place) };
}

function Talk({ ids }: { ids: readonly string[] }) {
  return <Link to={`/playground?models=${ids.slice(0, 3).join()}`} class="button">{words.talk}</Link>;
}
