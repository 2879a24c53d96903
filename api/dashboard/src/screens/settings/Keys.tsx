import { useState } from "preact/hooks";
import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { asProblem } from "../../api/problem";
import type { Key } from "../../api/types";
import { session } from "../../shell/session";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { confirm } from "../../ui/confirm";
import { Card } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Table, type Column } from "../../ui/Table";
import { Ago, Clip } from "../../ui/Text";
import { toast, toastProblem } from "../../ui/toast";
import { useRest } from "../../api/rest";
import { Made } from "./Made";
import { NewKey } from "./NewKey";

const words = t.settings.keys;

/** The project's keys: what each may do, when it was last used; made and revoked here. */
export function Keys() {
  const keys = useLoad((signal) => api.get("/keys", { signal }), []);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<string>();
  const rest = useRest(keys, (cursor) => api.get("/keys", { query: { cursor } }));
  return (
    <Card title={words.title} actions={<Button kind="primary" onClick={() => setMaking(true)}>{words.make}</Button>}>
      <p class="soft">{words.about}</p>
      <Shown of={keys}>
        {() => rest.items.length === 0
          ? <Empty title={words.emptyTitle} text={words.empty} />
          : <Listed keys={rest.items} again={keys.again} />}
      </Shown>
      {rest.more && <Button onClick={rest.more} busy={rest.busy}>{t.more}</Button>}
      <NewKey open={making} onClose={() => setMaking(false)} onMade={(key) => { setMaking(false); setMade(key); keys.again(); }} />
      <Made title={words.madeTitle} said={words.made} secret={made} onClose={() => setMade(undefined)} />
    </Card>
  );
}

function Listed({ keys, again }: { keys: readonly Key[]; again: () => void }) {
  const signed = useStore(session);
  const own = signed.state === "in" ? signed.who.key.id : "";
  const columns: Column<Key>[] = [
    { head: words.name, cell: (key) => <><Clip text={key.name} /> {key.id === own && <Badge tone="busy">{words.own}</Badge>}</> },
    { head: words.prefix, cell: (key) => key.prefix ? <code>{key.prefix}…</code> : <span class="faint">{words.preset}</span>, wide: true },
    { head: words.scopes, cell: (key) => key.scopes.join(", ") },
    { head: words.lastUsed, cell: (key) => key.last_used_at ? <Ago time={key.last_used_at} /> : <span class="faint">{words.never}</span> },
    { head: words.state, cell: (key) => <State of={key} /> },
    { head: words.actions, bare: true, cell: (key) => open(key) && (
      <Button kind="quiet" label={words.revokeNamed(key.name)} onClick={() => void revoke(key, key.id === own, again).catch(toastProblem)}>{words.revoke}</Button>
    ) },
  ];
  return <Table label={words.title} columns={columns} rows={keys} id={(key) => key.id} />;
}

function State({ of: key }: { of: Key }) {
  if (key.revoked_at) return <Badge title={key.revoked_at}>{words.revoked}</Badge>;
  if (!open(key)) return <Badge>{words.over}</Badge>;
  return key.expires_at ? <Badge tone="warn">{words.ends} <Ago time={key.expires_at} /></Badge> : <Badge tone="good">{words.open}</Badge>;
}

function open(key: Key): boolean {
  return !key.revoked_at && (!key.expires_at || Date.parse(key.expires_at) > Date.now());
}

async function revoke(key: Key, own: boolean, again: () => void): Promise<void> {
  const consequence = own ? words.revokeOwn : words.revokeSays;
  if (!(await confirm({ title: words.revokeTitle(key.name), consequence, action: words.revoke, danger: true }))) return;
  try {
    await api.delete("/keys/{key_id}", { path: { key_id: key.id } });
  } catch (thrown) {
    if (asProblem(thrown).code !== "last_admin_key") throw thrown;
    if (!(await confirm({ title: words.lastTitle, consequence: words.lastSays, action: words.revoke, danger: true }))) return;
    await api.delete("/keys/{key_id}", { path: { key_id: key.id }, query: { even_last_admin: true } });
  }
  toast(words.revokedSaid(key.name));
  again();
}
