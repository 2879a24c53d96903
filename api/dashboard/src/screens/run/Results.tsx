import { answersOf } from "../../answers";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { EvaluationDetail, Figure } from "../../api/types";
import { figure } from "../../format";
import { checkpointName, measureName } from "../../measures";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Page";
import { Sample } from "../../ui/Sample";
import { Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Tree } from "./Tree";

const words = t.run.evaluations;
const MOST_PROMPTS = 8;

/** What one evaluation has found: its figures beside the base's, what it could not measure, and answers. */
export function Results({ id, status, title = words.results }: { id: string; status: string; title?: string }) {
  const found = useLoad((signal) => api.get("/evaluations/{evaluation_id}", { path: { evaluation_id: id }, signal }), [id, status]);
  return (
    <Shown of={found}>
      {(one) => (
        <>
          <Card title={title}>
            {one.results ? <Found of={one} /> : <p class="faint">{words.notYet}</p>}
          </Card>
          {one.results && <Answers of={one} />}
        </>
      )}
    </Shown>
  );
}

function Found({ of: one }: { of: EvaluationDetail }) {
  const measured = checkpointName(one.checkpoint?.of ?? "last", one.checkpoint?.step);
  const columns: Column<Figure>[] = [
    { head: words.measured, cell: (each) => measureName(each) },
    { head: measured, number: true, cell: (each) => <Value value={each.value} error={each.standard_error} /> },
  ];
  if (one.figures?.some((each) => each.base !== null)) {
    columns.splice(1, 0, { head: t.measures.checkpoint["base"] ?? "", number: true, cell: (each) => figure(each.base) });
    columns.push({ head: words.difference, number: true, cell: (each) => <Value value={each.difference} error={each.difference_standard_error} sign /> });
  }
  const missing = one.missing as { what?: unknown; why?: unknown }[];
  return (
    <>
      {one.figures && one.figures.length > 0 && <Table label={words.results} columns={columns} rows={one.figures} id={(each) => `${each.measure} ${each.of}`} />}
      {missing.map((each, place) => <p key={place} class="notice warn">{words.missing} <b>{String(each.what)}</b>. {String(each.why ?? "")}</p>)}
      <details><summary>{words.all}</summary><Tree value={one.results} /></details>
    </>
  );
}

function Value({ value, error, sign }: { value: number | null; error: number | null; sign?: boolean }) {
  const plus = sign && value !== null && value > 0 ? "+" : "";
  return <>{plus}{figure(value)}{error !== null && <span class="faint"> {words.deviation(figure(error, 2))}</span>}</>;
}

/** Read when somebody wants to see them: they can be large. */
function Answers({ of: one }: { of: EvaluationDetail }) {
  const [open, setOpen] = useQuery("answers");
  const button = <Button expanded={open !== ""} onClick={() => setOpen(open ? "" : "yes")}>{open ? words.hideAnswers : words.showAnswers}</Button>;
  return (
    <Card title={words.answers} actions={button}>
      {open ? <Read of={one} /> : <p class="soft">{words.answersSay}</p>}
    </Card>
  );
}

function Read({ of: one }: { of: EvaluationDetail }) {
  const read = useLoad(async (signal) => {
    const [base, own] = await Promise.all([answersOf(one, "base", signal), answersOf(one, "checkpoint", signal)]);
    return { base, own };
  }, [one.id]);
  return (
    <Shown of={read}>
      {({ base, own }) => {
        const prompts = [...(own ?? base ?? new Map()).keys()].slice(0, MOST_PROMPTS) as string[];
        if (prompts.length === 0) return <p class="soft">{words.noAnswers}</p>;
        const tuned = checkpointName(one.checkpoint?.of ?? "last", one.checkpoint?.step);
        return prompts.map((prompt) => {
          const reference = own?.get(prompt)?.reference ?? base?.get(prompt)?.reference;
          const said: [string, string][] = [];
          if (base) said.push([t.compare.base, base.get(prompt)?.output ?? ""]);
          if (own) said.push([tuned, own.get(prompt)?.output ?? ""]);
          if (reference) said.push([words.reference, reference]);
          return <Sample key={prompt} prompt={prompt} said={said} />;
        });
      }}
    </Shown>
  );
}
