import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { Webhook } from "../../api/types";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { confirm } from "../../ui/confirm";
import { Dialog } from "../../ui/Dialog";
import { Card, toTop } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip } from "../../ui/Text";
import { toast, toastProblem } from "../../ui/toast";
import { Deliveries } from "./Deliveries";
import { Made } from "./Made";
import { NewWebhook } from "./NewWebhook";

const words = t.settings.webhooks;

/** Who is told when a job ends, and how that went. */
export function Webhooks() {
  const hooks = useLoad((signal) => api.get("/webhooks", { signal }), []);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<string>();
  const [opened, setOpened] = useQuery("hook");
  return (
    <Card title={words.title} actions={<Button kind="primary" onClick={() => setMaking(true)}>{words.make}</Button>}>
      <p class="soft">{words.about}</p>
      <Shown of={hooks}>
        {({ items }) => items.length === 0
          ? <Empty title={words.emptyTitle} text={words.empty} />
          : <Listed hooks={items} again={hooks.again} look={setOpened} />}
      </Shown>
      <NewWebhook open={making} onClose={() => setMaking(false)} onMade={(secret) => { setMaking(false); setMade(secret); hooks.again(); }} />
      <Made title={words.madeTitle} said={words.made} secret={made} onClose={() => setMade(undefined)} />
      <Dialog as="drawer" open={opened !== ""} title={words.deliveries} onClose={() => setOpened("")}>
        <Deliveries webhook={opened} url={hooks.value?.items.find((one) => one.id === opened)?.url} />
      </Dialog>
    </Card>
  );
}

function Listed({ hooks, again, look }: { hooks: readonly Webhook[]; again: () => void; look: (id: string) => void }) {
  const columns: Column<Webhook>[] = [
    { head: words.url, cell: (hook) => <Clip mono text={hook.url} /> },
    { head: words.events, cell: (hook) => hook.events.map((event) => words.event[event] ?? event).join(", "), wide: true },
    { head: words.since, cell: (hook) => <Ago time={hook.created_at} />, wide: true },
    { head: words.actions, bare: true, cell: (hook) => (
      <span class="actions">
        <Button kind="quiet" label={words.deliveriesOf(hook.url)} onClick={() => look(hook.id)}>{words.log}</Button>
        <Button kind="quiet" label={words.removeNamed(hook.url)} onClick={() => void remove(hook, again).catch(toastProblem)}>{words.remove}</Button>
      </span>
    ) },
  ];
  return <Table label={words.title} columns={columns} rows={hooks} id={(hook) => hook.id} />;
}

async function remove(hook: Webhook, again: () => void): Promise<void> {
  if (!(await confirm({ title: words.removeTitle, consequence: words.removeSays(hook.url), action: words.remove, danger: true }))) return;
  await api.delete("/webhooks/{webhook_id}", { path: { webhook_id: hook.id } });
  toast(words.removed);
  toTop();
  again();
}
