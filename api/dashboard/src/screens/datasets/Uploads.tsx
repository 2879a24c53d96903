import { useState } from "preact/hooks";
import { bytes, duration } from "../../format";
import { session } from "../../shell/session";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { Link } from "../../ui/Link";
import { Card } from "../../ui/Page";
import { Progress } from "../../ui/Progress";
import { Clip } from "../../ui/Text";
import { faultsOf, Report } from "./Report";
import { again, cancel, dismiss, here, uploads, type Upload } from "./uploads";

const words = t.datasets.upload;

/** Files on their way, and what came of those that were. */
export function Uploads() {
  useStore(session);
  const all = useStore(uploads).filter((one) => one.project === here());
  const [read, setRead] = useState<Upload>();
  if (all.length === 0) return null;
  return (
    <Card title={words.list}>
      <ul class="datasets-uploads">
        {all.map((one) => (
          <li key={one.id}>
            <div class="datasets-upload-head"><b><Clip text={one.file.name} /></b><Acts of={one} /></div>
            <State of={one} read={() => setRead(one)} />
          </li>
        ))}
      </ul>
      <Report of={read} onClose={() => setRead(undefined)} />
    </Card>
  );
}

function Acts({ of: one }: { of: Upload }) {
  if (one.state === "waiting" || one.state === "sending") {
    return <Button kind="quiet" label={words.cancel(one.file.name)} onClick={() => cancel(one)}>{t.cancel}</Button>;
  }
  if (one.state === "leaving") return null;
  return <Button kind="quiet" label={words.dismiss(one.file.name)} onClick={() => dismiss(one)}><Icon name="cross" /></Button>;
}

function State({ of: one, read }: { of: Upload; read: () => void }) {
  switch (one.state) {
    case "waiting":
      return <p class="soft">{words.waiting}</p>;
    case "sending":
      return <Sending of={one} />;
    case "leaving":
      return <><Progress label={one.file.name} value={undefined} /><p class="soft" role="status">{words.leaving}</p></>;
    case "done":
      return <Done of={one} />;
    case "failed":
      return <Refused of={one} read={read} />;
  }
}

function Sending({ of: { file, sent, beganAt } }: { of: Upload }) {
  const rate = sent / Math.max(0.2, (Date.now() - beganAt) / 1000);
  const whole = sent >= file.size;
  const left = rate > 0 ? duration((file.size - sent) / rate) : t.none;
  return (
    <>
      <Progress label={file.name} value={whole ? undefined : sent} of={whole ? 1 : file.size} />
      <p class="soft datasets-figures">{whole ? words.checking : words.sending(bytes(sent), bytes(file.size), bytes(rate), left)}</p>
      <span class="sr-only" role="status">{whole ? words.checking : ""}</span>
    </>
  );
}

function Done({ of: { dataset } }: { of: Upload }) {
  if (!dataset) return null;
  return (
    <div class="actions">
      <Badge tone="good">{words.done(dataset.rows, t.datasets.form[dataset.format] ?? dataset.format)}</Badge>
      <Link to={`/datasets/${dataset.id}`}>{t.datasets.look}</Link>
      <Link to={`/new?dataset=${dataset.id}`}>{t.datasets.run}</Link>
    </div>
  );
}

function Refused({ of: one, read }: { of: Upload; read: () => void }) {
  const faulty = faultsOf(one.problem).length > 0;
  return (
    <>
      <p class="notice bad" role="alert">
        <b>{faulty ? words.faulty : words.refused}.</b> {one.problem?.message} {one.problem?.requestId && <span class="faint">{t.failed.request(one.problem.requestId)}</span>}
      </p>
      <div class="actions">
        {faulty && <Button kind="primary" onClick={read}>{words.report}</Button>}
        <Button onClick={() => again(one)}>{words.again}</Button>
      </div>
    </>
  );
}
