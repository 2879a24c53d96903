import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { PreviewRead } from "../../api/types";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Page";
import { Kept, useKept } from "./Kept";
import { misfitOf, type Asked } from "./Lens";

const words = t.datasets.preview;
const FEW = 5;
const MANY = 100;
type Row = PreviewRead["rows"][number];
type Example = Row["examples"][number];
type Span = Example["spans"][number];

/** The first rows as they stand before the model: what is trained on, what it only reads, what the template wrote. */
export function Preview({ id, asked }: { id: string; asked: Asked }) {
  const [rows, setRows] = useState(FEW);
  const seen = useKept(useLoad(
    (signal) => api.get("/datasets/{dataset_id}/preview", { path: { dataset_id: id }, query: { ...asked, rows }, signal }),
    [id, rows, ...Object.values(asked)],
  ));
  return (
    <Card title={words.title} actions={<Legend />}>
      <Kept of={seen} misfit={misfitOf(seen.problem)}>
        {(told) => (
          <>
            <div class="datasets-rows">{told.rows.map((row) => <One key={row.row} row={row} />)}</div>
            {told.rows.length === FEW && <div class="actions"><Button busy={seen.busy} onClick={() => setRows(MANY)}>{words.more}</Button></div>}
          </>
        )}
      </Kept>
    </Card>
  );
}

function Legend() {
  return <span class="datasets-spans datasets-legend"><mark>{words.trained}</mark><span>{words.untrained}</span><span class="special">{words.special}</span></span>;
}

function One({ row }: { row: Row }) {
  return (
    <section class="datasets-seen" aria-label={words.row(row.row)}>
      {row.fault && <p class="notice bad"><b>{words.row(row.row)}</b> {words.fault}: {row.fault.detail} <code>{row.fault.code}</code></p>}
      {row.examples.map((example, index) => (
        <div key={index}>
          <header>
            <b>{words.row(row.row)}</b>
            {row.examples.length > 1 && <span>{words.part(index + 1, row.examples.length)}</span>}
            <span class="soft">{words.tokens(example.kept_tokens, example.trained_tokens)}</span>
            {example.truncated && <Badge tone="warn">{words.cut(example.tokens)}</Badge>}
            {example.trained_tokens === 0 && <Badge tone="bad">{words.droppedBadge}</Badge>}
            {!example.shown_whole && <span class="faint">{words.partly}</span>}
          </header>
          <pre class="datasets-spans" tabIndex={0} aria-label={words.row(row.row)}>{example.spans.map((span, place) => <Piece key={place} of={span} />)}</pre>
        </div>
      ))}
    </section>
  );
}

function Piece({ of: span }: { of: Span }) {
  const kind = span.special ? "special" : "";
  return span.trained ? <mark class={kind}>{span.text}</mark> : <span class={kind}>{span.text}</span>;
}
