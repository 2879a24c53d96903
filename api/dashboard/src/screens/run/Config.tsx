import { api, send } from "../../api/client";
import { useLoad } from "../../api/load";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Clip, Copy } from "../../ui/Text";
import type { PartProps } from "./index";
import { Tree } from "./Tree";

const words = t.run.config;

interface Row {
  path: string;
  value: string;
  usual: string | undefined;
}

/** Exactly what was asked for, and where that is not what is usual; what was found out; and the record of the run. */
export function Config({ job }: PartProps) {
  const [all, setAll] = useQuery("all");
  const usual = useLoad(defaults, []);
  const written = (job.artifacts ?? []).some((one) => one.name === "record"); // not before the end, nor by a run that failed early
  const record = useLoad(async (signal) => written ? api.get("/jobs/{job_id}/record", { path: { job_id: job.id }, signal }) : null, [job.id, written]);
  const shown = (known: Record<string, unknown>): Row[] => {
    const rows = rowsOf(job.kind === "train" ? job.spec : job.options ?? {}, job.kind === "train" ? known : {});
    return all ? rows : rows.filter((row) => row.usual !== row.value);
  };
  const columns: Column<Row>[] = [
    { head: words.field, cell: (row) => <code>{row.path}</code> },
    { head: words.value, cell: (row) => <Clip mono text={row.value} /> },
    { head: words.usual, cell: (row) => row.usual === undefined ? <span class="faint">{words.asked}</span> : row.usual === row.value ? <span class="faint">{words.same}</span> : <><Badge tone="warn">{words.differs}</Badge> <Clip mono text={row.usual} /></> },
  ];
  return (
    <>
      <Card title={words.title} actions={<Copy label={words.copy} text={JSON.stringify(job.spec, null, 2)} />}>
        <label class="check"><input type="checkbox" checked={all === ""} onChange={(event) => setAll(event.currentTarget.checked ? "" : "1")} /> {words.onlyDifferent}</label>
        <Shown of={usual}>{(known) => <Table label={words.title} columns={columns} rows={shown(known)} id={(row) => row.path} />}</Shown>
      </Card>
      {job.resolved && <Card title={words.resolved}><Tree value={job.resolved} /></Card>}
      <Card title={words.record}>
        <Shown of={record}>
          {(one) => one === null ? <p class="faint">{words.noRecord}</p> : <><p><Copy label={words.copyRecord} text={JSON.stringify(one, null, 2)} /></p><details><summary>{words.showRecord}</summary><Tree value={one} /></details></>}
        </Shown>
      </Card>
    </>
  );
}

interface Described {
  components?: { schemas?: Record<string, { properties?: Record<string, { default?: unknown }> }> };
}

/** What each field is when nobody says otherwise: the service's own description of itself tells it. */
async function defaults(signal: AbortSignal): Promise<Record<string, unknown>> {
  const described = (await (await send("/openapi.json", { signal })).json()) as Described;
  const fields = described.components?.schemas?.["JobSpec"]?.properties ?? {};
  return Object.fromEntries(Object.entries(fields).flatMap(([name, field]) => ("default" in field ? [[name, field.default]] : [])));
}

function rowsOf(value: Record<string, unknown>, usual: Record<string, unknown>, under = ""): Row[] {
  return Object.entries(value).flatMap(([name, one]) => {
    const path = under ? `${under}.${name}` : name;
    const other = usual[name];
    if (isObject(one) && Object.keys(one).length > 0) return rowsOf(one, isObject(other) ? other : {}, path);
    return [{ path, value: said(one), usual: name in usual ? said(other) : undefined }];
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function said(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
