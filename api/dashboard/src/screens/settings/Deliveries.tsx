import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { useRest } from "../../api/rest";
import type { Delivery } from "../../api/types";
import { t } from "../../texts";
import { Badge, type Tone } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Empty, Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip } from "../../ui/Text";
import { toast, toastProblem } from "../../ui/toast";

const words = t.settings.webhooks;
const LOOK_S = 3; // a delivery is tried within seconds
const TONES: Record<Delivery["status"], Tone> = { due: "busy", delivered: "good", given_up: "bad" };

const COLUMNS: readonly Column<Delivery>[] = [
  { head: words.state, cell: (one) => <Badge tone={TONES[one.status]}>{words.status[one.status]}</Badge> },
  { head: words.what, cell: (one) => words.event[one.type] ?? <Clip text={one.type} /> },
  { head: words.when, cell: (one) => <Ago time={one.created_at} /> },
  { head: words.attempts, cell: (one) => one.attempts, number: true, wide: true },
  { head: words.answer, cell: (one) => <Answer of={one} /> },
  { head: words.next, cell: (one) => (one.status === "due" && one.attempts > 0 ? <Ago time={one.due_at} /> : "") },
];

/** What one address was told, newest first; and a test to send. */
export function Deliveries({ webhook, url }: { webhook: string; url: string | undefined }) {
  const path = { webhook_id: webhook };
  const told = useLoad((signal) => api.get("/webhooks/{webhook_id}/deliveries", { path, signal }), [webhook], LOOK_S);
  const rest = useRest(told, (cursor) => api.get("/webhooks/{webhook_id}/deliveries", { path, query: { cursor } }));
  const test = async (): Promise<void> => {
    await api.post("/webhooks/{webhook_id}/test", { path });
    toast(words.testSent);
    told.again();
  };
  return (
    <>
      {url && <p class="soft settings-url"><Clip mono text={url} /></p>}
      <div class="actions settings-test"><Button onClick={() => void test().catch(toastProblem)}>{words.test}</Button></div>
      <Shown of={told}>
        {() => rest.items.length === 0
          ? <Empty title={words.quietTitle} text={words.quiet} />
          : <Table label={words.deliveries} columns={COLUMNS} rows={rest.items} id={(one) => one.id} />}
      </Shown>
      {rest.more && <Button onClick={rest.more} busy={rest.busy}>{t.more}</Button>}
    </>
  );
}

function Answer({ of: one }: { of: Delivery }) {
  if (one.last_status) return <code>{one.last_status}</code>;
  if (one.last_error) return <Clip text={one.last_error} />;
  return <>{t.none}</>;
}
