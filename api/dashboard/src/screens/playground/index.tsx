import { usePlace, setQuery } from "../../router";
import { t } from "../../texts";
import { Page } from "../../ui/Page";
import { Empty, Shown } from "../../ui/States";
import { Asked } from "./Exchange";
import { Form } from "./Form";
import { useAskable, usual, type Askable } from "./models";
import "./playground.css";
import { isOpen, useTalk } from "./useTalk";
import { MOST_ASKED } from "./Whom";

const words = t.playground;

/** The same question to up to three models, side by side. */
export default function Playground() {
  const askable = useAskable();
  return (
    <Page title={words.title}>
      <Shown of={askable}>
        {(found) => found.choices.length === 0 ? <Empty title={words.emptyTitle} text={words.empty} /> : <Talk askable={found} />}
      </Shown>
    </Page>
  );
}

function Talk({ askable }: { askable: Askable }) {
  const { talk, ask, again, stop } = useTalk();
  const given = (usePlace().query.get("models") ?? "").split(",").filter(Boolean).slice(0, MOST_ASKED);
  const models = given.length > 0 ? given : usual(askable);
  const put = (chosen: readonly string[]): void => setQuery({ models: chosen.join() });
  const speaking = talk.some((one) => one.answers.some(isOpen));
  const problem = talk[0]?.answers.find((one) => one.problem?.faults.length)?.problem;
  return (
    <>
      <Form askable={askable} models={models} onModels={put} problem={problem} onStop={speaking ? () => stop() : undefined}
        onAsk={(question) => { put(models); ask(question, models); }} />
      {talk.map((one) => (
        <Asked key={one.id} exchange={one} askable={askable} onStop={(place) => stop(one.id, place)} onAgain={(place) => again(one, place)} />
      ))}
      {talk.length === 0 && <p class="soft">{words.about}</p>}
    </>
  );
}
