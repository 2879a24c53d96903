import { figure, whole } from "../../format";
import type { TokensRead } from "../../api/types";
import { t } from "../../texts";

const words = t.datasets.lengths;
const DROPPED_ALLOWED = 0.1; // of the rows; with more a run fails (`no_trainable_tokens`)

/** How long the examples are, and what is lost by the cut. */
export function Lengths({ of: told }: { of: TokensRead }) {
  const { sampled, length } = told;
  return (
    <>
      <p class="soft">{words.about(told.template)} {sampled.whole ? words.exact : words.sampled(whole(sampled.rows), whole(sampled.of), sampled.how)} {!told.tokenizer_exact && words.inexact}</p>
      {told.unrenderable.rows > 0 && <p class="notice bad">{words.unrenderable(told.unrenderable.rows)} {String(told.unrenderable.first[0]?.["detail"] ?? "")}</p>}
      {length ? <Histogram of={length} cutAt={told.max_length} /> : <p>{words.none}</p>}
      <dl class="datasets-facts">
        <div><dt>{words.p50}</dt><dd>{whole(length?.p50)}</dd></div>
        <div><dt>{words.p95}</dt><dd>{whole(length?.p95)}</dd></div>
        <div><dt>{words.max}</dt><dd>{whole(length?.max)}</dd></div>
        <div><dt>{words.perEpoch}</dt><dd>{whole(told.tokens_per_epoch)}</dd></div>
        <div><dt>{words.share}</dt><dd>{told.trained_share === null ? t.none : `${figure(told.trained_share * 100, 3)} %`}</dd></div>
      </dl>
      {told.truncated > 0 && <p class="notice warn">{words.cut(told.truncated, told.unended)}</p>}
      {told.dropped_rows > 0 && (told.dropped_rows > DROPPED_ALLOWED * sampled.rows
        ? <p class="notice bad">{words.tooManyDropped(told.dropped_rows)}</p>
        : <p class="notice warn">{words.dropped(told.dropped_rows)}</p>)}
    </>
  );
}

const LATE = 0.85; // there a word has no room to the right

function Histogram({ of: length, cutAt }: { of: NonNullable<TokensRead["length"]>; cutAt: number }) {
  const most = Math.max(1, ...length.histogram.map((bin) => bin.examples));
  const anyCut = length.max > cutAt;
  const [from, to] = [length.histogram[0]?.from ?? 0, length.histogram.at(-1)?.to ?? 1];
  const marks = [[words.half, length.p50], [words.most, length.p95]] as const;
  return (
    <figure class="datasets-histogram">
      <figcaption class="datasets-axis"><span>{words.tallest(most)}</span>{anyCut && <span><i class="datasets-swatch cut" /> {words.cutLegend(cutAt)}</span>}</figcaption>
      <div class="datasets-bars" role="img" aria-label={words.chart(length.p50, length.p95, length.max)}>
        {marks.map(([name, at]) => {
          const place = (at - from + 0.5) / (to - from + 1);
          return <b key={name} class={place > LATE ? "datasets-mark late" : "datasets-mark"} style={{ left: `${100 * place}%` }}><span>{name}</span></b>;
        })}
        {length.histogram.map((bin) => (
          <span key={bin.from} title={words.bar(bin.from, bin.to, bin.examples)}>
            <i class={bin.from > cutAt ? "cut" : ""} style={{ height: `${(100 * bin.examples) / most}%` }} hidden={bin.examples === 0} />
          </span>
        ))}
      </div>
      <div class="datasets-axis" aria-hidden="true">
        <span>{whole(length.histogram[0]?.from)}</span>
        <span>{whole(length.histogram[Math.floor(length.histogram.length / 2)]?.from)}</span>
        <span>{words.tokens(whole(length.histogram.at(-1)?.to))}</span>
      </div>
    </figure>
  );
}
