import { useQuery } from "../../router";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import { Table, type Column } from "../../ui/Table";
import { Clip } from "../../ui/Text";
import type { Found } from "./runs";
import { settingsOf, type Setting } from "./differing";

const words = t.compare;

/** What was asked for, and what it came to mean: only where runs differ, or all of it. */
export function Settings({ runs }: { runs: readonly Found[] }) {
  const [all, setAll] = useQuery("all");
  const told = settingsOf(runs);
  const rows = all ? told : told.filter((one) => one.differs);
  const columns: Column<Setting>[] = [
    { head: words.setting, cell: (one) => <code>{one.name}</code> },
    ...runs.map((run, place) => ({ head: run.letter, cell: (one: Setting) => one.values[place] === undefined ? t.none : <Clip text={one.values[place]} /> })),
  ];
  const shown = (
    <label class="check">
      <input type="checkbox" checked={all !== ""} onChange={(event) => setAll(event.currentTarget.checked ? "yes" : "")} />{words.allSettings}
    </label>
  );
  return (
    <Card class="compare-table across" title={all ? words.settings : words.differences} actions={shown}>
      {rows.length === 0 ? <p class="soft">{words.noDifference}</p>
        : <Table label={words.differences} columns={columns} rows={rows} id={(one) => one.name} />}
    </Card>
  );
}
