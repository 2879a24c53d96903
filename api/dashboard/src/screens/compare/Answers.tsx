import { useLoad } from "../../api/load";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Card } from "../../ui/Page";
import { Sample } from "../../ui/Sample";
import { Shown } from "../../ui/States";
import { BASE, samplesOf, type Samples } from "./samples";
import type { Found } from "./runs";

const words = t.compare;

/** What the runs have answered in their evaluations, side by side; read when somebody wants to see it. */
export function Answers({ runs }: { runs: readonly Found[] }) {
  const [open, setOpen] = useQuery("answers");
  const button = <Button expanded={open !== ""} onClick={() => setOpen(open ? "" : "yes")}>{open ? words.hideAnswers : words.showAnswers}</Button>;
  return (
    <Card title={words.samples} actions={button}>
      {open ? <Read runs={runs} /> : <p class="soft">{words.samplesAbout}</p>}
    </Card>
  );
}

function Read({ runs }: { runs: readonly Found[] }) {
  const found = useLoad((signal) => samplesOf(runs, signal), [runs.map((run) => run.id).join()]);
  return <Shown of={found}>{(told) => <Told told={told} />}</Shown>;
}

function Told({ told: { samples, without } }: { told: Samples }) {
  return (
    <>
      {without.length > 0 && <p class="soft">{words.notEvaluated(without.join(", "))}</p>}
      {samples.length === 0 ? without.length === 0 && <p class="soft">{words.noSamples}</p> : samples.map(({ prompt, said }) => (
        <Sample key={prompt} prompt={prompt} said={[...said].map(([name, text]) => [name === BASE ? words.base : name, text] as const)} />
      ))}
    </>
  );
}
