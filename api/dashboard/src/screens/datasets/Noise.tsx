import { figure, whole } from "../../format";
import type { TokensRead } from "../../api/types";
import { t } from "../../texts";
import { Alpha } from "../../ui/Badge";
import { Table, type Column } from "../../ui/Table";

const words = t.datasets.noise;
type Line = TokensRead["noise"]["alphas"][number];

export function percent(ratio: number): string {
  return `${figure(ratio * 100, 2)} %`;
}

/** What alpha comes to on these rows: in words for the paper's middle strength, in numbers for all three. */
export function Noise({ of: { noise, length } }: { of: TokensRead }) {
  const first = noise.alphas[0];
  const columns: Column<Line>[] = [
    { head: words.alpha, cell: (one) => <Alpha value={one.alpha} /> },
    { head: words.ratio, cell: (one) => <Ratio of={one} /> },
    { head: words.atP50, cell: (one) => figure(one.bound_at_p50, 2), number: true },
    { head: words.atP95, cell: (one) => figure(one.bound_at_p95, 2), number: true },
    { head: words.largest, cell: (one) => figure(one.bound_largest, 2), number: true },
  ];
  return (
    <>
      <p class="soft">{words.about}</p>
      {first?.ratio != null && <p>{words.says(percent(first.ratio), first.alpha)}</p>}
      {noise.unknown_because && <p class="notice warn">{words.unknown} {noise.unknown_because}</p>}
      {noise.alphas.length > 0 && <Table label={words.title} columns={columns} rows={noise.alphas} id={(one) => String(one.alpha)} />}
      {noise.alphas.length > 0 && length && <p class="faint">{words.columns(whole(length.p50), whole(length.p95))}</p>}
    </>
  );
}

function Ratio({ of: one }: { of: Line }) {
  if (one.ratio === null) return <>{t.none}</>;
  return <span class="datasets-ratio"><meter min={0} max={1} value={Math.min(1, one.ratio)} aria-label={words.ratio} /> {percent(one.ratio)}</span>;
}
