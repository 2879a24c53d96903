import { useState } from "preact/hooks";
import { useLoad } from "../../api/load";
import type { ApiError } from "../../api/problem";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Clip } from "../../ui/Text";
import { MOST, rowsOf, type Found } from "./row";
import type { Upload } from "./uploads";

const words = t.datasets.report;
const READ_AT_ONCE = 32_000_000; // bytes of a file whose rows are shown beside their faults unasked
const EXCERPT = 240;

/** What is wrong with a row. */
interface RowFault {
  line: number;
  code: string;
  msg: string;
  path: string;
}

/** The faults that an upload was refused for; none where it was refused as a whole. */
export function faultsOf(problem: ApiError | undefined): readonly RowFault[] {
  const told = problem?.document["errors"];
  if (!Array.isArray(told)) return [];
  return told.filter((one): one is RowFault => typeof one?.line === "number");
}

/** Every fault by line in a drawer, each with the row that it is about. */
export function Report({ of: upload, onClose }: { of: Upload | undefined; onClose: () => void }) {
  return (
    <Dialog as="drawer" open={upload !== undefined} title={words.title(upload?.file.name ?? "")} onClose={onClose}>
      {upload && <Faults key={upload.id} of={upload} />}
    </Dialog>
  );
}

function Faults({ of: upload }: { of: Upload }) {
  const faults = faultsOf(upload.problem);
  const counts = upload.problem?.document["counts"] as Record<string, number> | undefined;
  const all = Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0) || faults.length;
  const [seen, setSeen] = useState<RowFault>();
  const rows = useLoad(async () => (upload.file.size > READ_AT_ONCE ? [] : rowsOf(upload.file, faults).catch(() => [])), [upload]);
  if (seen) return <Row of={upload.file} fault={seen} back={() => setSeen(undefined)} />;
  const columns: Column<RowFault>[] = [
    { head: words.line, cell: (one) => one.line.toLocaleString("en"), number: true },
    { head: words.fault, cell: (one) => <>{one.msg} <code class="faint">{one.code}</code><Excerpt of={rows.value?.[faults.indexOf(one)]} /></> },
    { head: words.where, cell: (one) => (one.path ? <Clip mono text={one.path} /> : t.none), wide: true },
    { head: words.row, cell: (one) => <Button label={words.showNamed(one.line)} onClick={() => setSeen(one)}>{words.show}</Button> },
  ];
  return (
    <>
      <p>{words.sum(all, faults.length)}</p>
      {counts && <ul class="datasets-counts">{Object.entries(counts).map(([code, count]) => <li key={code}><code>{code}</code> {count.toLocaleString("en")}</li>)}</ul>}
      <Table label={words.title(upload.file.name)} columns={columns} rows={faults} id={(one) => String(faults.indexOf(one))} />
    </>
  );
}

/** The beginning of the row that a fault is about. */
function Excerpt({ of: found }: { of: Found | undefined }) {
  if (typeof found !== "object") return null;
  return <div class="datasets-excerpt"><Clip mono text={found.text.slice(0, EXCERPT)} /></div>;
}

function Row({ of: file, fault, back }: { of: File; fault: RowFault; back: () => void }) {
  const row = useLoad(() => rowsOf(file, [fault]).then(([found]) => found ?? "missing").catch(() => "gone" as const), [file, fault]);
  return (
    <>
      <div class="actions datasets-back"><Button onClick={back}>{words.hide}</Button></div>
      <h3>{words.rowTitle(fault.line)}</h3>
      <p class="notice bad">{fault.path && <><code>{fault.path}</code>: </>}{fault.msg}</p>
      <Shown of={row}>
        {(found) => {
          if (found === "gone") return <p>{words.gone}</p>;
          if (found === "unseen") return <p>{words.unseen}</p>;
          if (found === "missing") return <p>{words.missing}</p>;
          return (
            <>
              <pre class="datasets-row" tabIndex={0} dir="auto">{found.text}</pre>
              {found.length > MOST && <p class="faint">{words.long(MOST)}</p>}
            </>
          );
        }}
      </Shown>
    </>
  );
}
